//! A report as a person reads it on a terminal: a block for each replica, and for each database that has none.

use std::fmt::Write;

use jiff::Timestamp;

use super::overview::{Line, lines, worst_first};
use crate::delivery::render::terminal::{painted, reason, row, wrapped};
use crate::domain::assessment::{LocalReport, ReplicaReport};
use crate::domain::check::checklist::not_observable;
use crate::domain::human;
use crate::domain::report::{Block, Report};
use crate::domain::spot::SpotReport;
use crate::domain::verdict::{Severity, Status, Verdict, Word};

/// The report and its verdicts, in blocks, with a last line that counts them, in at most `width` columns or [`UNCUT`].
pub fn blocks(report: &Report, colour: bool, width: usize) -> String {
    let mut out = String::new();
    for block in report.blocks() {
        out.extend([&coloured(Word::of(block.verdicts()), colour), " "]);
        one(&mut out, &block, report.generated_at, width);
    }
    let lines = lines(report);
    if let Some(agent) = lines.iter().find(|line| line.database.is_none()) {
        out.extend([&coloured(agent.word, colour), " ", agent.name, "\n"]);
        worst_first(report.verdicts.agent.iter()).for_each(|verdict| failed(&mut out, verdict, width));
        out.push('\n');
    }
    if report.assessment.databases.is_empty() {
        return out + &coloured(report.word(), colour) + " no databases found\n";
    }
    out.extend([&counted(&lines), "\n\n"]);
    // Below the last line, so that nobody takes these for checked.
    for (item, line) in not_observable() {
        let told = format!("not observable: {} ({}); have the application run `{line}`", item.item, item.asked);
        // Writing to a text does not fail.
        let _ = writeln!(out, "{}", wrapped(&told, width).join("\n"));
    }
    out
}

/// How many there are of each word, the heaviest first.
pub(super) fn counted(lines: &[Line<'_>]) -> String {
    let count = |word: &Word| lines.iter().filter(|line| line.word == *word).count();
    let some = Word::ALL.iter().rev().filter(|word| count(word) > 0);
    some.map(|word| format!("{} {}", count(word), word.as_str())).collect::<Vec<_>>().join(", ")
}

/// A word as it stands in front of a block.
pub(super) fn coloured(word: Word, colour: bool) -> String {
    let code = match word {
        Word::Ok => "1;32",
        Word::Warning => "1;33",
        Word::Unknown => "1;35",
        Word::Critical => "1;31",
    };
    painted(colour, code, &word.as_str().to_uppercase())
}

fn one(out: &mut String, block: &Block<'_>, now: Timestamp, width: usize) {
    let Block { database, replica, .. } = block;
    let place = replica.map_or_else(|| "(no replica)".to_owned(), |replica| format!("-> {}", replica.url));
    out.extend([&human::printable(&format!("{} {place}", database.name)), "\n"]);
    let local = database.local.as_deref().map(describe);
    row(out, width, "database", local.as_deref().unwrap_or(database.state.as_str()));
    if let Some(why) = &database.reason {
        reason(out, width, "reason", why);
    }
    if let Some(replica) = replica {
        of_replica(out, replica, now, width);
    }
    worst_first(block.verdicts()).for_each(|verdict| failed(out, verdict, width));
    out.push('\n');
}

fn of_replica(out: &mut String, replica: &ReplicaReport, now: Timestamp, width: usize) {
    let age = |at| human::duration(human::age_seconds(at, now));
    let mut known = |name: &str, value: Option<String>| row(out, width, name, value.as_deref().unwrap_or("unknown"));
    // What the newest object says is no proof, though it is what the table has.
    let at_least = if replica.safe_until().is_none() { "at least " } else { "" };
    let point = replica.safe_at_least().map(|at| format!("{at_least}{} ({} ago)", human::instant(at), age(at)));
    known("recovery point", point);
    known("lag", replica.lag_words());
    known("at risk", replica.at_risk_words());
    let method = replica.method.map_or_else(String::new, |method| format!(", by {}", method.as_str()));
    known("proof age", replica.verified_at.map(|at| age(at) + &method));
    if let Some(coverage) = &replica.coverage {
        // Where the map begins, as `restorable` has it.
        let map = replica.timeline.as_deref().filter(|map| map.gaps > 0);
        let first = map.and_then(|map| map.since).filter(|at| Some(*at) < coverage.restorable_since);
        let gaps = first.map_or_else(String::new, |at| format!(", with gaps since {}", human::instant(at)));
        let since = coverage.restorable_since.map(|at| format!("{} ({}){gaps}", human::instant(at), age(at)));
        known("restorable since", if coverage.restorable { since } else { Some("never".to_owned()) });
        let first =
            coverage.gaps.first().map(|gap| format!(", the first after {} and before {}", gap.after, gap.before));
        row(out, width, "gaps", &human::printable(&format!("{}{}", coverage.gaps.len(), first.unwrap_or_default())));
    }
    if let Some(spot) = &replica.spot {
        row(out, width, "content", &compared(spot));
    }
    if let Some(why) = &replica.reason {
        reason(out, width, "reason", why);
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

/// What a verdict that did not pass is called; one that only informs is no failure.
pub(super) fn state_of(verdict: &Verdict) -> &'static str {
    match (verdict.status, verdict.severity) {
        (Status::Fail, Severity::Info) => "note",
        (Status::Fail, _) => "failed",
        (Status::Pass | Status::Unknown, _) => "unknown",
    }
}

fn failed(out: &mut String, verdict: &Verdict, width: usize) {
    row(out, width, state_of(verdict), &human::printable(&format!("{}: {}", verdict.check, verdict.detail)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::render::terminal::UNCUT;
    use crate::domain::report::sample;

    #[test]
    fn one_block_for_each_replica() {
        let expected = "\
OK app -> s3://backups/app
  database          /srv/app.db, 1.0 MiB, WAL 402.4 KiB
  recovery point    2025-12-31 23:59:56Z (4s ago)
  lag               0s
  at risk           0 B
  proof age         4s, by wal
  restorable since  2025-12-31 00:00:00Z (1d)
  gaps              0
  content           17 pages compared with the live database, equal

CRITICAL orders -> s3://backups/app
  database          /srv/orders.db, 1.0 MiB, WAL 402.4 KiB
  recovery point    unknown
  lag               at most 6m 50s
  at risk           unknown
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
  at risk           unknown
  proof age         unknown
  reason            list s3://backups/app: access denied
  hint              grant s3:ListBucket on backups
  unknown           SnapshotStale: the detail

1 critical, 1 unknown, 1 ok

not observable: busy timeout (busy_timeout=5000); have the application run `PRAGMA busy_timeout = 5000;`
not observable: foreign keys (foreign_keys=ON); have the application run `PRAGMA foreign_keys = ON;`
not observable: synchronous (synchronous=NORMAL); have the application run `PRAGMA synchronous = NORMAL;`
";
        let mut report = sample::full();
        report.assessment.databases.retain(|database| database.name.as_str() != "observed");
        assert_eq!(blocks(&report, false, UNCUT), expected);
    }

    #[test]
    fn what_was_not_judged_is_unknown() {
        let mut database = sample::healthy("app");
        database.replicas.clear();
        let text = blocks(&sample::report(vec![database]), false, UNCUT);
        assert!(text.starts_with("UNKNOWN app (no replica)\n"), "{text}");
        assert_eq!(blocks(&sample::report(Vec::new()), false, UNCUT), "UNKNOWN no databases found\n");
    }

    #[test]
    fn what_keeps_it_from_looking_has_a_block_of_its_own() {
        let mut report = sample::report(vec![sample::healthy("app")]);
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
        let text = blocks(&report, false, UNCUT);
        let expected = "WARNING streamgauge\n  failed            DiscoveryFailed: /etc/litestream.yml: read /srv";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn colours_are_in_the_words_only() {
        let (plain, coloured) = (blocks(&sample::full(), false, UNCUT), blocks(&sample::full(), true, UNCUT));
        assert!(coloured.contains("\x1b[1;31mCRITICAL\x1b[0m orders"));
        assert!(!plain.contains('\x1b'));
        let hostile = blocks(&sample::report(vec![sample::unknown("\x1b[31mred")]), false, UNCUT);
        assert!(hostile.contains("UNKNOWN \\u{1b}[31mred ->"), "{hostile}");
    }
}
