//! A report as a person reads it on a terminal: a block for each replica, and for each database that has none.

use std::fmt::{Display, Formatter, Result};

use crate::domain::assessment::{LocalReport, ReplicaReport};
use crate::domain::check::checklist::not_observable;
use crate::domain::human;
use crate::domain::reason::Reason;
use crate::domain::report::{Block, Report};
use crate::domain::spot::SpotReport;
use crate::domain::verdict::{Severity, Status, Verdict, Word};

/// A word as it stands in front of a block, and its colour on a terminal (ECMA-48 SGR).
fn text(word: Word) -> (&'static str, u8) {
    match word {
        Word::Ok => ("OK", 32),
        Word::Warning => ("WARNING", 33),
        Word::Unknown => ("UNKNOWN", 35),
        Word::Critical => ("CRITICAL", 31),
    }
}

/// The report and its verdicts, in blocks, with a last line that counts them.
pub fn table(report: &Report, colour: bool) -> String {
    Table { report, colour }.to_string()
}

struct Table<'a> {
    report: &'a Report,
    colour: bool,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut counts = [0_usize; 4];
        for block in self.report.blocks() {
            counts[self.block(f, &block)? as usize] += 1;
        }
        self.agent(f, &mut counts)?;
        if self.report.assessment.databases.is_empty() {
            return writeln!(f, "{} no databases found", self.word(self.report.word()));
        }
        let summary = Word::ALL.iter().rev().filter(|word| counts[**word as usize] > 0);
        let summary: Vec<String> =
            summary.map(|word| format!("{} {}", counts[*word as usize], word.as_str())).collect();
        writeln!(f, "{}", summary.join(", "))?;
        writeln!(f)?;
        // Below the last line, so that nobody takes these for checked.
        for (item, line) in not_observable() {
            writeln!(f, "not observable: {} ({}); have the application run `{line}`", item.item, item.asked)?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn word(&self, word: Word) -> String {
        let (text, colour) = text(word);
        if self.colour { format!("\x1b[1;{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes what is wrong with the agent itself.
    fn agent(&self, f: &mut Formatter<'_>, counts: &mut [usize; 4]) -> Result {
        let bad = self.report.verdicts.agent.iter().filter(|verdict| verdict.status != Status::Pass);
        let bad: Vec<&Verdict> = bad.collect();
        if bad.is_empty() {
            return Ok(());
        }
        let word = Word::of(bad.iter().copied());
        counts[word as usize] += 1;
        writeln!(f, "{} streamgauge", self.word(word))?;
        bad.into_iter().try_for_each(|verdict| failed(f, verdict))?;
        writeln!(f)
    }

    fn block(&self, f: &mut Formatter<'_>, block: &Block<'_>) -> std::result::Result<Word, std::fmt::Error> {
        let (Block { database, replica, .. }, verdicts) = (block, block.verdicts());
        let word = Word::of(verdicts.clone());
        write!(f, "{} {}", self.word(word), human::printable(&database.name))?;
        match replica {
            Some(replica) => writeln!(f, " -> {}", human::printable(&replica.url))?,
            None => writeln!(f, " (no replica)")?,
        }
        if let Some(local) = &database.local {
            line(f, "database", describe(local))?;
        } else {
            line(f, "database", database.state.as_str())?;
        }
        reason(f, database.reason.as_ref())?;
        if let Some(replica) = replica {
            self.replica(f, replica)?;
        }
        verdicts.filter(|verdict| verdict.status != Status::Pass).try_for_each(|verdict| failed(f, verdict))?;
        writeln!(f)?;
        Ok(word)
    }

    fn replica(&self, f: &mut Formatter<'_>, replica: &ReplicaReport) -> Result {
        let now = self.report.generated_at;
        let age = |at| human::duration(human::age_seconds(at, now));
        let point = replica.recovery_point.map(|at| format!("{} ({} ago)", human::instant(at), age(at)));
        line(f, "recovery point", known(point))?;
        let lag = replica.lag_seconds.map(|lag| match replica.lag_upper_bound_seconds {
            Some(most) if most > lag => format!("{} to {}", human::duration(lag), human::duration(most)),
            _ => human::duration(lag),
        });
        line(f, "lag", known(lag))?;
        let bound = if replica.unreplicated_bytes_lower_bound { "≥ " } else { "" };
        line(
            f,
            "unreplicated",
            known(replica.unreplicated_bytes.map(|bytes| format!("{bound}{}", human::bytes(bytes)))),
        )?;
        let method = replica.method.map_or_else(String::new, |method| format!(", by {}", method.as_str()));
        line(f, "proof age", known(replica.verified_at.map(|at| age(at) + &method)))?;
        if let Some(coverage) = &replica.coverage {
            let since = coverage.restorable_since.map(|at| format!("{} ({})", human::instant(at), age(at)));
            line(f, "restorable since", if coverage.restorable { known(since) } else { "never".to_owned() })?;
            let first = coverage.gaps.first();
            let first = first.map_or_else(String::new, |gap| {
                format!(
                    ", the first after {} and before {}",
                    human::printable(&gap.after),
                    human::printable(&gap.before)
                )
            });
            line(f, "gaps", format_args!("{}{first}", coverage.gaps.len()))?;
        }
        if let Some(spot) = &replica.spot {
            line(f, "content", compared(spot))?;
        }
        reason(f, replica.reason.as_ref())
    }
}

/// The result of comparing pages with the live database, as a cell.
fn compared(spot: &SpotReport) -> String {
    let compared = match (spot.mismatches.len(), spot.last_compared) {
        (0, 0) => "not compared with the live database".to_owned(),
        (0, count) => format!("{} compared with the live database, equal", human::counted(count, "page")),
        (count, _) => {
            let differ = human::agree(&count, "differs", "differ");
            format!("{} {differ} from the live database", human::counted(count, "page"))
        }
    };
    match &spot.not_compared {
        Some(why) => format!("{compared}: {}", human::printable(why)),
        None => compared,
    }
}

fn describe(local: &LocalReport) -> String {
    let wal = local.wal_size_bytes.map_or_else(|| "no WAL".to_owned(), |bytes| format!("WAL {}", human::bytes(bytes)));
    format!("{}, {}, {wal}", human::printable(&local.path), human::bytes(local.size_bytes))
}

fn known(value: Option<String>) -> String {
    value.unwrap_or_else(|| "unknown".to_owned())
}

fn line(f: &mut Formatter<'_>, name: &str, value: impl Display) -> Result {
    writeln!(f, "  {name:<17} {value}")
}

/// Writes a verdict that did not pass; one that only informs is not called a failure.
fn failed(f: &mut Formatter<'_>, verdict: &Verdict) -> Result {
    let state = match (verdict.status, verdict.severity) {
        (Status::Fail, Severity::Info) => "note",
        (Status::Fail, _) => "failed",
        (Status::Pass | Status::Unknown, _) => "unknown",
    };
    line(f, state, format_args!("{}: {}", verdict.check, human::printable(&verdict.detail)))
}

fn reason(f: &mut Formatter<'_>, reason: Option<&Reason>) -> Result {
    let Some(reason) = reason else { return Ok(()) };
    line(f, "reason", human::printable(&reason.message))?;
    reason.hint.as_ref().map_or(Ok(()), |hint| line(f, "hint", human::printable(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::render::fixture;

    #[test]
    fn one_block_for_each_replica() {
        let expected = "\
OK app -> s3://backups/app
  database          /srv/app.db, 1.0 MiB, WAL 402.4 KiB
  recovery point    2025-12-31 23:59:56Z (4s ago)
  lag               0s
  unreplicated      0 B
  proof age         4s, by wal
  restorable since  2025-12-31 00:00:00Z (1d)
  gaps              0
  content           17 pages compared with the live database, equal

CRITICAL orders -> s3://backups/app
  database          /srv/orders.db, 1.0 MiB, WAL 402.4 KiB
  recovery point    2025-12-31 23:53:10Z (6m 50s ago)
  lag               6m 40s to 6m 50s
  unreplicated      ≥ 20.1 KiB
  proof age         10s, by wal
  restorable since  2025-12-31 00:00:00Z (1d)
  gaps              1, the first after 0000000000000010 and before 0000000000000012
  content           1 page differs from the live database
  failed            ReplicationLag: the detail

UNKNOWN zeta -> s3://backups/app
  database          unreadable
  reason            read /srv/app.db: permission denied
  recovery point    unknown
  lag               unknown
  unreplicated      unknown
  proof age         unknown
  reason            list s3://backups/app: access denied
  hint              grant s3:ListBucket on backups
  unknown           SnapshotStale: the detail

1 critical, 1 unknown, 1 ok

not observable: busy timeout (busy_timeout=5000); have the application run `PRAGMA busy_timeout = 5000;`
not observable: foreign keys (foreign_keys=ON); have the application run `PRAGMA foreign_keys = ON;`
not observable: synchronous (synchronous=NORMAL); have the application run `PRAGMA synchronous = NORMAL;`
";
        let mut report = fixture::full();
        report.assessment.databases.retain(|database| database.name != "observed");
        assert_eq!(table(&report, false), expected);
    }

    #[test]
    fn what_was_not_judged_is_unknown() {
        let mut database = fixture::healthy("app");
        database.replicas.clear();
        let text = table(&fixture::report(vec![database]), false);
        assert!(text.starts_with("UNKNOWN app (no replica)\n"), "{text}");
        assert_eq!(table(&fixture::report(Vec::new()), false), "UNKNOWN no databases found\n");
    }

    #[test]
    fn what_keeps_it_from_looking_has_a_block_of_its_own() {
        let mut report = fixture::report(vec![fixture::healthy("app")]);
        report.assessment.databases = Vec::new();
        report.verdicts.agent = vec![Verdict {
            check: "DiscoveryFailed",
            title: "",
            severity: Severity::Warning,
            database: None,
            replica: None,
            status: Status::Fail,
            detail: "/etc/litestream.yml: read /srv: permission denied".into(),
        }];
        let text = table(&report, false);
        let expected = "WARNING streamgauge\n  failed            DiscoveryFailed: /etc/litestream.yml: read /srv";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn colours_are_in_the_words_only() {
        let (plain, coloured) = (table(&fixture::full(), false), table(&fixture::full(), true));
        assert!(coloured.contains("\x1b[1;31mCRITICAL\x1b[0m orders"));
        assert!(!plain.contains('\x1b'));
        let hostile = table(&fixture::report(vec![fixture::unknown("\x1b[31mred")]), false);
        assert!(hostile.contains("UNKNOWN \\u{1b}[31mred ->"), "{hostile}");
    }
}
