//! The spot checks of one replica: when the next round is due, what it compares, and what came of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::replica::WatchedReplica;
use crate::domain::limits::{SPOT_AGAIN, SPOT_RACES_MAX, SPOT_SPREAD};
use crate::domain::litestream::Layout;
use crate::domain::moment::Moment;
use crate::domain::spot::{SpotBook, SpotPolicy, SpotReport, SpotResult};
use crate::domain::sqlite::lock_page;
use crate::domain::target::DatabaseFiles;
use crate::usecase::ports::{LiveTarget, PageReader};
use crate::usecase::spot::{SpotJob, SpotRound};

/// Bytes that a page, as it is stored, is expected to take at most, for the budget.
const PAGE_BYTES: u64 = 4 << 10;

/// Bytes that an index that is not known is expected to take.
const INDEX_BYTES: u64 = 36 << 10;

/// The spot checks of one replica.
#[derive(Debug, Default)]
pub(super) struct Spotting {
    pub(super) book: SpotBook,
    /// When the next round is due; `None` until the first look. It begins after the look that follows.
    pub(super) due: Option<Moment>,
    pub(super) in_flight: bool,
    /// There is a live database that can be read.
    pub(super) able: bool,
    /// Rounds in a row for which the live database was not to be had at the replica's position.
    races: u32,
    /// Why no round was made although it was due.
    why: Option<&'static str>,
}

impl WatchedReplica {
    /// The round that begins after a look, if one is due and something can be compared.
    pub(super) fn spot_job(
        &mut self,
        reader: &Arc<dyn PageReader>,
        files: &Arc<DatabaseFiles>,
        policy: &SpotPolicy,
        now: Moment,
    ) -> Option<SpotJob> {
        let interval = policy.interval.filter(|_| self.spotting.able && !self.target.encrypted)?;
        let due =
            self.spotting.due.unwrap_or_else(|| now.after(first(&self.spotting.book, self.seed(0), interval, now)));
        self.spotting.due = Some(due);
        if due.mono() > now.mono() || self.spotting.in_flight || self.unreadable().is_some() || !self.ledger.is_on() {
            return None;
        }
        let store = self.store.clone().ok()?;
        let newest = self.newest_txid();
        let (plan, position) = match self.ledger.spot_plan() {
            // Where more has come since the last listing, the plan does not say how to read it.
            Ok(plan) => match plan.tip.wal_end().filter(|_| newest == Some(plan.tip.max.0)) {
                Some(position) => (plan, position),
                None => return None,
            },
            Err(why) => {
                self.spotting.why = Some(why);
                return None;
            }
        };
        let unknown = plan.files.iter().filter(|file| file.frames.is_none()).count() as u64;
        let pages = u64::from(policy.pages) + 1;
        if !self.ledger.affords(pages + 2 * unknown, pages * PAGE_BYTES + unknown * INDEX_BYTES, now.wall()) {
            self.spotting.why = Some("the daily budget for reading is used up");
            return None;
        }
        self.spotting.why = None;
        self.spotting.in_flight = true;
        let tip = plan.tip;
        let seed = self.seed(now.wall().as_nanosecond() as u64);
        let numbers = self.spotting.book.pages(seed, tip.commit, policy.pages, lock_page(tip.page_size));
        let target = LiveTarget { position, pages: tip.commit };
        Some(SpotJob { store, reader: Arc::clone(reader), files: Arc::clone(files), plan, target, numbers })
    }

    /// Takes in a round. The next look should come at once where it says `true`.
    pub(super) fn take_round(&mut self, round: SpotRound, policy: &SpotPolicy, now: Moment) -> bool {
        self.spotting.in_flight = false;
        self.ledger.spend(round.requests, round.bytes);
        round.doubted.into_iter().for_each(|name| self.ledger.doubt(name));
        self.take_verified(round.verified, now);
        if let Some(why) = &round.outcome.why {
            tracing::debug!(replica = self.target.name, why, "pages not compared");
        }
        // A difference that the live database's position kept from being seen again is tried in its time.
        let compared = !round.outcome.findings.is_empty();
        self.spotting.races = if compared || round.requests > 0 { 0 } else { self.spotting.races + 1 };
        let raced = (1..=SPOT_RACES_MAX).contains(&self.spotting.races);
        let result = self.spotting.book.conclude(round.outcome, now.wall());
        let suspicious = self.spotting.book.is_suspicious() && compared;
        let interval = policy.interval.unwrap_or(SPOT_AGAIN);
        let wait = match result {
            _ if suspicious || raced => Duration::ZERO,
            SpotResult::Equal if !self.spotting.book.differs_somewhere() => spread(interval, self.seed(1)),
            _ => SPOT_AGAIN.min(interval),
        };
        self.spotting.due = Some(now.after(wait));
        suspicious
    }

    /// When a round is due, which begins after a look; `None` if none are wanted or can be. One that is overdue is tried
    /// after this look, and again after an interval.
    pub(super) fn spot_due(&self, policy: &SpotPolicy, now: Moment) -> Option<Moment> {
        let interval = policy.interval.filter(|_| self.spotting.able && self.spots_are_possible())?;
        let due = self.spotting.due.unwrap_or(now);
        Some(if due.mono() > now.mono() { due } else { now.after(interval) })
    }

    /// Pages can be read from the replica.
    fn spots_are_possible(&self) -> bool {
        let v3 = self.layout() == Some(Layout::V3);
        !self.target.encrypted && self.ledger.is_on() && !v3
    }

    /// The report of the rounds; `None` if none are wanted, or there is no live database.
    pub(super) fn spot_report(&self, policy: &SpotPolicy) -> Option<SpotReport> {
        let interval = policy.interval.filter(|_| self.spotting.able)?;
        let why = match self.target.encrypted {
            true => Some("it is encrypted"),
            false => self.spotting.why,
        };
        let mut report = self.spotting.book.report(self.spots_are_possible().then_some(interval));
        report.not_compared = why.map(str::to_owned).or(report.not_compared);
        Some(report)
    }

    /// Different for each replica and each round.
    fn seed(&self, salt: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key, self.target.location.url(), self.spotting.book.rounds(), salt).hash(&mut hasher);
        hasher.finish()
    }
}

/// How long until the first round of this run: soon, or as an earlier run would have had it.
fn first(book: &SpotBook, seed: u64, interval: Duration, now: Moment) -> Duration {
    let soon = SPOT_SPREAD.min(interval).as_secs_f64() * (seed as f64 / u64::MAX as f64);
    let rest = book.conclusive_at().map(|at| interval.as_secs_f64() - now.wall().duration_since(at).as_secs_f64());
    let calm = !book.differs_somewhere();
    let wait = rest.filter(|_| calm).map_or(soon, |rest| rest.clamp(soon, interval.as_secs_f64()));
    Duration::from_secs(wait as u64)
}

/// An interval within a tenth, so that replicas that began together do not stay together.
fn spread(interval: Duration, seed: u64) -> Duration {
    interval.mul_f64(0.95 + 0.1 * (seed as f64 / u64::MAX as f64))
}
