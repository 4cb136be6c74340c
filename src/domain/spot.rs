//! Spot checks: a few pages of the live database compared with the replica's newest version of the same pages.
//!
//! This is what finds a right checksum over wrong content: a replica of another history, a database that was put back to
//! an older state behind Litestream's back, a letter that was changed and summed up again.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits::{SPOT_MISMATCHES_MAX, SPOT_PAGES_MAX};
use super::litestream::Txid;
use super::spread::numbers;

/// How often pages are compared, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpotPolicy {
    /// From one round to the next; `None`: none are made.
    pub interval: Option<Duration>,
    /// Pages that are chosen at random for each round, beside the first one.
    pub pages: u32,
}

impl SpotPolicy {
    pub const OFF: Self = Self { interval: None, pages: 0 };
}

/// 17 requests an hour and replica: a cent a month on S3 (docs/SPOT-CHECKS.md).
impl Default for SpotPolicy {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(3600)), pages: 16 }
    }
}

/// The result of comparing one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpotFinding {
    Equal,
    /// The object that holds the replica's newest version of it.
    Different {
        key: String,
    },
}

/// The result of one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpotOutcome {
    /// The state of the replica that was compared.
    pub txid: Txid,
    /// Pages of the database in that state; 0 where that is not known.
    pub pages: u32,
    /// The results, by page.
    pub findings: Vec<(u32, SpotFinding)>,
    /// The live pages are of the same position. Otherwise equal pages are equal, and others may as well be newer.
    pub positioned: bool,
    /// Why not everything was compared.
    pub why: Option<String>,
}

/// A page that differs from the live database although both are of the same position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SpotMismatch {
    /// The number of the page, from 1.
    pub page: u32,
    /// The object that holds the replica's newest version of the page.
    pub key: String,
    /// The TXID of the state of the replica in which the page last differed.
    #[cfg_attr(test, schemars(with = "u64"))]
    pub txid: Txid,
    /// When the page was first believed to differ.
    pub since: Timestamp,
}

/// The value of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotResult {
    Equal,
    /// A difference that was seen before was seen again.
    Different,
    /// Nothing could be compared, or a difference has to be seen again before it is believed.
    Inconclusive,
}

/// The history of one replica's rounds. It survives a restart, so that a difference stays reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpotBook {
    equal: u64,
    different: u64,
    inconclusive: u64,
    pages_compared: u64,
    last_compared: u64,
    conclusive_at: Option<Timestamp>,
    /// Pages that differed once.
    suspects: BTreeSet<u32>,
    mismatches: Vec<SpotMismatch>,
    why: Option<String>,
}

/// The report of one replica's rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SpotReport {
    /// Seconds from one round to the next; `None` where this replica cannot be compared at all.
    pub interval_seconds: Option<f64>,
    /// Rounds that found the replica equal to the live database.
    pub equal: u64,
    /// Rounds that found the replica different from the live database.
    pub different: u64,
    /// Rounds that found nothing out.
    pub inconclusive: u64,
    /// Pages that were compared, in all rounds.
    pub pages_compared: u64,
    /// Pages that were compared in the last round.
    pub last_compared: u64,
    /// When pages were last compared.
    pub conclusive_at: Option<Timestamp>,
    /// Pages that differ from the live database; at most as many as the limits say.
    pub mismatches: Vec<SpotMismatch>,
    /// Why the last round did not compare all its pages.
    pub not_compared: Option<String>,
}

impl SpotReport {
    /// A page differs; `None` where none was ever compared.
    pub fn mismatch(&self) -> Option<bool> {
        self.conclusive_at.map(|_| !self.mismatches.is_empty())
    }
}

impl SpotBook {
    /// The pages of the next round: those that differed, the first one, which every change of the schema and of the size
    /// changes as well, and so many chosen at random.
    pub fn pages(&self, seed: u64, pages: u32, count: u32, lock_page: u32) -> Vec<u32> {
        let known = self.mismatches.iter().map(|mismatch| mismatch.page).chain(self.suspects.iter().copied());
        let known = known.take(SPOT_MISMATCHES_MAX).chain([1]).filter(|page| *page <= pages);
        let random = pick(seed, pages, count.min(SPOT_PAGES_MAX), lock_page);
        known.chain(random).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Takes in a round. A difference is believed when a second round, which looked at everything anew, sees it again;
    /// it is told until a round finds that page equal, or gone from the database.
    pub fn conclude(&mut self, outcome: SpotOutcome, now: Timestamp) -> SpotResult {
        let SpotOutcome { txid, pages, findings, positioned, why } = outcome;
        let (mut equal, mut different) = (0, 0);
        for (page, finding) in findings {
            match finding {
                SpotFinding::Equal => {
                    equal += 1;
                    self.suspects.remove(&page);
                    self.mismatches.retain(|known| known.page != page);
                }
                SpotFinding::Different { key } if positioned => {
                    different += u64::from(self.differs(page, key, txid, now));
                }
                SpotFinding::Different { .. } => {}
            }
        }
        if pages > 0 {
            self.suspects.retain(|page| *page <= pages);
            self.mismatches.retain(|known| known.page <= pages);
        }
        self.why = why;
        self.last_compared = equal + different;
        self.pages_compared += self.last_compared;
        if self.last_compared > 0 {
            self.conclusive_at = Some(now);
        }
        let (result, count) = if different > 0 {
            (SpotResult::Different, &mut self.different)
        } else if equal > 0 && self.suspects.is_empty() {
            (SpotResult::Equal, &mut self.equal)
        } else {
            (SpotResult::Inconclusive, &mut self.inconclusive)
        };
        *count += 1;
        result
    }

    /// Notes a page that differs; whether that is believed.
    fn differs(&mut self, page: u32, key: String, txid: Txid, now: Timestamp) -> bool {
        if let Some(known) = self.mismatches.iter_mut().find(|known| known.page == page) {
            (known.key, known.txid) = (key, txid);
            return true;
        }
        let again = self.suspects.remove(&page);
        if again && self.mismatches.len() < SPOT_MISMATCHES_MAX {
            self.mismatches.push(SpotMismatch { page, key, txid, since: now });
        } else if !again && self.suspects.len() < SPOT_MISMATCHES_MAX {
            self.suspects.insert(page);
        }
        again
    }

    /// A page differed once, and is to be looked at again at once.
    pub fn is_suspicious(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub fn differs_somewhere(&self) -> bool {
        !self.mismatches.is_empty()
    }

    /// Something was compared in the last round.
    pub fn has_compared(&self) -> bool {
        self.last_compared > 0
    }

    pub fn conclusive_at(&self) -> Option<Timestamp> {
        self.conclusive_at
    }

    /// Rounds so far.
    pub fn rounds(&self) -> u64 {
        self.equal + self.different + self.inconclusive
    }

    pub fn report(&self, interval: Option<Duration>) -> SpotReport {
        SpotReport {
            interval_seconds: interval.map(|interval| interval.as_secs_f64()),
            equal: self.equal,
            different: self.different,
            inconclusive: self.inconclusive,
            pages_compared: self.pages_compared,
            last_compared: self.last_compared,
            conclusive_at: self.conclusive_at,
            mismatches: self.mismatches.clone(),
            not_compared: self.why.clone(),
        }
    }
}

/// So many different pages of a database, each as likely as any other; all of them where there are no more.
fn pick(seed: u64, pages: u32, count: u32, lock_page: u32) -> BTreeSet<u32> {
    let there = pages - u32::from((1..=pages).contains(&lock_page));
    let is_content = |page: &u32| *page != lock_page;
    if there <= count {
        return (1..=pages).filter(is_content).collect();
    }
    // The upper half of a product with the number of pages.
    let any = |number: u64| ((u128::from(number) * u128::from(pages)) >> 64) as u32 + 1;
    let mut picked = BTreeSet::new();
    let mut pages = numbers(seed).map(any).filter(is_content);
    while picked.len() < count as usize {
        picked.extend(pages.next());
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn outcome(findings: &[(u32, bool)]) -> SpotOutcome {
        let finding = |equal| match equal {
            true => SpotFinding::Equal,
            false => SpotFinding::Different { key: "ltx/0/1".into() },
        };
        SpotOutcome {
            txid: Txid(7),
            pages: 100,
            findings: findings.iter().map(|(page, equal)| (*page, finding(*equal))).collect(),
            positioned: true,
            why: None,
        }
    }

    fn different(book: &SpotBook) -> Vec<(u32, i64)> {
        book.mismatches.iter().map(|known| (known.page, known.since.as_second())).collect()
    }

    #[test]
    fn a_difference_is_told_when_it_was_seen_twice_and_until_that_page_is_equal() {
        let mut book = SpotBook::default();
        assert_eq!(book.conclude(outcome(&[(1, true), (9, false)]), at(1)), SpotResult::Inconclusive);
        assert!(book.is_suspicious() && !book.differs_somewhere());
        assert_eq!(book.pages(5, 100, 0, 0), [1, 9]);
        assert_eq!(book.conclude(outcome(&[(1, true)]), at(2)), SpotResult::Inconclusive, "it was not looked at");
        assert_eq!(book.conclude(outcome(&[(9, false), (1, true)]), at(3)), SpotResult::Different);
        assert_eq!(different(&book), [(9, 3)]);
        assert_eq!(book.conclude(outcome(&[(1, true), (2, true)]), at(4)), SpotResult::Equal);
        assert_eq!(different(&book), [(9, 3)], "other pages say nothing of it");
        let again: SpotBook = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
        assert_eq!(again, book, "a restart forgets nothing");
        assert_eq!(book.conclude(outcome(&[(9, true)]), at(5)), SpotResult::Equal);
        assert_eq!((different(&book), book.conclusive_at()), (Vec::new(), Some(at(5))));
    }

    #[test]
    fn what_raced_once_is_not_told() {
        let mut book = SpotBook::default();
        book.conclude(outcome(&[(9, false)]), at(1));
        assert_eq!(book.conclude(outcome(&[(9, true)]), at(2)), SpotResult::Equal);
        assert!(!book.is_suspicious());
    }

    #[test]
    fn a_page_that_is_gone_differs_no_longer() {
        let mut book = SpotBook::default();
        book.conclude(outcome(&[(99, false)]), at(1));
        book.conclude(outcome(&[(99, false)]), at(2));
        assert!(book.differs_somewhere());
        book.conclude(SpotOutcome { pages: 98, ..outcome(&[(1, true)]) }, at(3));
        assert!(!book.differs_somewhere());
    }

    #[test]
    fn without_a_position_only_what_is_equal_counts() {
        let mut book = SpotBook::default();
        let closed = |findings| SpotOutcome { positioned: false, ..outcome(findings) };
        for second in 1..5 {
            assert_eq!(book.conclude(closed(&[(1, false)]), at(second)), SpotResult::Inconclusive);
        }
        assert!(!book.differs_somewhere() && book.conclusive_at().is_none());
        assert_eq!(book.conclude(closed(&[(1, true), (2, false)]), at(5)), SpotResult::Equal);
        assert_eq!(book.report(None).pages_compared, 1);
    }

    #[test]
    fn pages_are_different_ones_in_range_and_never_the_lock_page() {
        for seed in 0..200 {
            let picked = pick(seed, 40, 16, 7);
            assert!(picked.len() == 16 && picked.iter().all(|page| (1..=40).contains(page) && *page != 7));
        }
        assert_eq!(pick(1, 4, 16, 3).into_iter().collect::<Vec<_>>(), [1, 2, 4]);
        assert!(pick(1, 0, 16, 3).is_empty());
        assert_eq!(pick(1, u32::MAX, 16, 3).len(), 16);
    }
}
