//! Restore drills, for a terminal, for programs, and as a page that an auditor keeps.

use maud::{Markup, PreEscaped};

use super::html::{LINE, document};
use super::terminal::{align, painted};
use crate::domain::drill::{COMPARE, DrillRecord, DrillResult};
use crate::domain::human;

/// Everything is in the page: it is read in ten years, from a mail, without a network.
const STYLE: &str = "body{font-family:system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 \
                     1rem;color:#1a1a1a;background:#fff}table{border-collapse:collapse;width:100%;margin:.5rem 0 \
                     1.5rem}th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid \
                     #ddd;vertical-align:top;overflow-wrap:anywhere}th{white-space:nowrap}td.n{text-align:right;white-space:nowrap}code{font-size:.85em}.passed{font-weight:600;color:#0a6b2d}.failed{font-weight:600;color:#a40000}.inconclusive{font-weight:600;color:#8a5a00}@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#3a3a3a}.passed{color:#7ddc9a}.failed{color:#ff8a80}.inconclusive{color:#ffcf70}}@media \
                     print{body{margin:0;max-width:none;color:#000;background:#fff}section{break-inside:avoid-page}th,td{border-color:#999}.passed,.failed,.inconclusive{color:#000}thead{display:table-header-group}tr{break-inside:avoid}}";

/// The meaning of a result, in words that need no further documentation.
fn meaning(record: &DrillRecord) -> &'static str {
    match record.result {
        DrillResult::Passed => {
            "The database was restored from the objects listed here. Each was read in full and has the checksum that \
             it carries, and the restored database passed every check that was asked for."
        }
        DrillResult::Failed if failed_by_probes(record) => {
            "The replica restored, and the restored database passed SQLite's checks. One of your own queries did not \
             give the expected answer: see whether the live database gives the same one."
        }
        DrillResult::Failed if failed_by_comparison(record) => {
            "The replica restored, but the result differs from the live database at the same position. Either of the \
             two may be damaged: run PRAGMA integrity_check on both before you reset anything."
        }
        DrillResult::Failed => {
            "The replica did not restore to a sound and current database. Treat it as no backup until this is explained."
        }
        DrillResult::Inconclusive => {
            "Something outside the replica kept the drill from finishing. This says nothing about the backup, good or \
             bad, and does not count as a test."
        }
    }
}

/// The names of the steps that failed, of a drill that restored something.
fn failed_checks(record: &DrillRecord) -> Option<Vec<&str>> {
    record.restored.as_ref()?;
    let failed = record.checks.iter().filter(|check| check.result == DrillResult::Failed);
    Some(failed.map(|check| check.name.as_str()).collect())
}

/// Nothing failed but queries of the configuration.
fn failed_by_probes(record: &DrillRecord) -> bool {
    let failed = record.probes.iter().any(|probe| probe.result == DrillResult::Failed);
    failed && failed_checks(record).is_some_and(|checks| checks.is_empty())
}

/// No check failed but the comparison with the live database.
fn failed_by_comparison(record: &DrillRecord) -> bool {
    failed_checks(record).is_some_and(|checks| checks == [COMPARE])
}

/// One line for each drill, with what did not pass below it.
pub fn table(records: &[DrillRecord], colour: bool) -> String {
    let header = ["DATABASE", "REPLICA", "RESULT", "RECOVERY POINT", "SIZE", "RESTORED IN", "DOWNLOADED", "PRICE"];
    let mut rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(records.iter().map(cells)).collect();
    align(&mut rows);
    let mut text = String::new();
    for (index, mut row) in rows.into_iter().enumerate() {
        let record = index.checked_sub(1).and_then(|index| records.get(index));
        if let Some(record) = record {
            row[2] = painted(colour, code(record.result), &row[2]);
        }
        text.extend([row.join("  ").trim_end(), "\n"]);
        if let Some(record) = record {
            below(record, &mut text);
        }
    }
    text
}

fn cells(record: &DrillRecord) -> [String; 8] {
    let restored = record.restored.as_ref();
    let unknown = || "-".to_owned();
    [
        human::printable(&record.database),
        human::printable(&record.replica),
        record.result.as_str().to_owned(),
        restored.map_or_else(unknown, |restored| human::instant(restored.recovery_point)),
        restored.map_or_else(unknown, |restored| human::bytes(restored.bytes)),
        record.restore_seconds.map_or_else(unknown, human::duration),
        human::bytes(record.downloaded_bytes),
        human::dollars(record.dollars),
    ]
}

fn below(record: &DrillRecord, text: &mut String) {
    let mut say = |line: &str| text.extend(["  ", &human::printable(line), "\n"]);
    if let Some(reason) = &record.reason {
        say(&reason.message);
        if let Some(hint) = &reason.hint {
            say(&format!("hint: {hint}"));
        }
    }
    let named = |name: &str| record.reason.as_ref().is_some_and(|reason| reason.message.contains(name));
    for check in record.checks.iter().filter(|check| check.result != DrillResult::Passed && !named(&check.detail)) {
        say(&format!("{}: {}", check.name, check.detail));
    }
    for probe in record.probes.iter().filter(|probe| probe.result != DrillResult::Passed && !named(&probe.detail)) {
        say(&format!("probe {}: {}", probe.name, probe.detail));
    }
}

fn code(result: DrillResult) -> &'static str {
    match result {
        DrillResult::Passed => "32",
        DrillResult::Failed => "31",
        DrillResult::Inconclusive => "33",
    }
}

/// The records as one page that needs nothing else.
pub fn html(records: &[DrillRecord]) -> String {
    let body = maud::html! {
        h1 { "Restore drills" }
        (LINE)
        p {
            "A restore drill downloads a backup, restores the database from it in scratch space, examines the result, \
             and removes it. Times are in UTC."
        }
        (LINE)
        (rows(&["database", "replica", "result", "when", "recovery point"], records.iter().enumerate(), |(number, record)| {
            let point = record.restored.as_ref().map(|restored| human::instant(restored.recovery_point));
            maud::html! {
                td { a href={ "#drill-" (number) } { (record.database) } }
                td { (record.replica) }
                (result_cell(record.result))
                td { (human::instant(record.started_at)) }
                td { (point.as_deref().unwrap_or("unknown")) }
            }
        }))
        @for (number, record) in records.iter().enumerate() { (section(number, record)) }
    };
    document("Restore drills", &maud::html! { style { (PreEscaped(STYLE)) } }, &body)
}

/// A table with a line for each thing.
fn rows<T>(columns: &[&str], things: impl IntoIterator<Item = T>, cells: impl Fn(T) -> Markup) -> Markup {
    maud::html! {
        table {
            thead { tr { @for column in columns { th { (column) } } } }
            tbody { (LINE) @for thing in things { tr { (cells(thing)) } (LINE) } }
        }
        (LINE)
    }
}

fn result_cell(result: DrillResult) -> Markup {
    maud::html! { td class=(result.as_str()) { (result.as_str()) } }
}

/// One drill.
fn section(number: usize, record: &DrillRecord) -> Markup {
    let word = record.result.as_str();
    maud::html! {
        section id={ "drill-" (number) } {
            h2 { (record.database) ": " (word) }
            (LINE)
            p class=(word) { (meaning(record)) }
            (LINE)
            @if let Some(reason) = &record.reason {
                p { "Reason: " (reason.message) } (LINE)
                @if let Some(hint) = &reason.hint { p { "Hint: " (hint) } (LINE) }
            }
            h3 { "What was done" }
            table { tbody { (LINE) @for (name, value) in facts(record) { tr { th { (name) } td { (value) } } (LINE) } } }
            (LINE)
            h3 { "Checks" }
            (rows(&["check", "result", "finding", "time"], &record.checks, |check| maud::html! {
                td { (check.name) }
                (result_cell(check.result))
                td { (check.detail) }
                td.n { (human::duration(check.seconds)) }
            }))
            @if !record.probes.is_empty() {
                h3 { "Probes" }
                (rows(&["probe", "result", "answer"], &record.probes, |probe| maud::html! {
                    td { (probe.name) } (result_cell(probe.result)) td { (probe.detail) }
                }))
            }
            @if let Some(restored) = &record.restored {
                h3 { "Objects" }
                p {
                    "In the order in which they were applied, each with the checksum that it carries, which was found \
                     correct."
                }
                (rows(&["key", "bytes", "checksum"], &restored.objects, |object| maud::html! {
                    td { code { (object.key) } } td.n { (object.bytes) } td { code { (object.checksum) } }
                }))
            }
        }
        (LINE)
    }
}

/// The facts on record of a drill, by name.
fn facts(record: &DrillRecord) -> Vec<(&'static str, String)> {
    let extent = if record.incremental { "what was new since the previous drill" } else { "everything" };
    let mut facts = vec![
        ("replica", format!("{} at {}", record.replica, record.url)),
        ("started", human::instant(record.started_at)),
        ("finished", format!("{}, after {}", human::instant(record.finished_at), human::duration(record.seconds))),
        ("performed by", record.program.clone()),
        ("extent", extent.to_owned()),
    ];
    if let Some(restored) = &record.restored {
        let sha256 = restored.sha256.as_deref().unwrap_or("not computed: it was restored incrementally");
        facts.extend([
            ("restored state", format!("{} (Litestream {})", restored.position, restored.layout)),
            (
                "recovery point",
                format!("{}: nothing committed later is in it", human::instant(restored.recovery_point)),
            ),
            ("database", format!("{} bytes in pages of {}", restored.bytes, restored.page_size)),
            ("SHA-256", sha256.to_owned()),
        ]);
        let missing = restored.shortfall.as_ref();
        facts.extend(missing.map(|gap| ("missing", format!("nothing leads from {} to {}", gap.after, gap.before))));
    }
    let took = |seconds| format!("{seconds:.3} s, from the first request until the database was on disk");
    facts.extend(record.restore_seconds.map(|seconds| ("time to restore", took(seconds))));
    let (bytes, requests) =
        (human::counted(record.downloaded_bytes, "byte"), human::counted(record.requests, "request"));
    let (dollars, estimated) = (human::dollars(record.dollars), human::dollars(record.estimated_dollars));
    facts.push(("downloaded", format!("{bytes} in {requests}")));
    facts.push(("price", format!("{dollars} (estimated before: {estimated})")));
    facts
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::json::pretty;
    use super::*;
    use crate::domain::drill::{DrillCheck, DrillRestored, ProbeRecord};
    use crate::domain::reason::{Reason, ReasonKind};
    use crate::domain::restore::RestoredObject;

    const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{1b}[2J";

    fn record(result: DrillResult) -> DrillRecord {
        let at = Timestamp::from_second(1_795_336_200).unwrap();
        DrillRecord {
            database: HOSTILE.into(),
            replica: HOSTILE.into(),
            url: HOSTILE.into(),
            program: "streamgauge 0.1.0".into(),
            started_at: at,
            finished_at: at,
            result,
            reason: Some(Reason::new(ReasonKind::Corrupt, HOSTILE).with_hint(HOSTILE)),
            incremental: false,
            restored: Some(DrillRestored {
                layout: "v0.5".into(),
                position: "TXID 0000000000000007".into(),
                recovery_point: at,
                bytes: 8192,
                page_size: 4096,
                sha256: Some("ab".repeat(32)),
                objects: vec![RestoredObject { key: HOSTILE.into(), bytes: 5, checksum: HOSTILE.into() }],
                shortfall: None,
            }),
            checks: vec![DrillCheck { name: HOSTILE.into(), result, detail: HOSTILE.into(), seconds: 0.5 }],
            probes: vec![ProbeRecord { name: HOSTILE.into(), result, value: None, detail: HOSTILE.into() }],
            downloaded_bytes: 5,
            requests: 2,
            estimated_dollars: 0.1,
            dollars: 0.05,
            restore_seconds: Some(0.25),
            seconds: 1.5,
        }
    }

    #[test]
    fn nothing_breaks_out_of_the_page_and_nothing_comes_from_outside() {
        let page = html(&[record(DrillResult::Failed), record(DrillResult::Passed)]);
        for word in ["<script", "http:", "https:", "url(", "@import", "src=", "\u{1b}", "javascript"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
        assert_eq!(page.matches("&lt;script&gt;").count(), 2 * (2 + 11), "{page}");
        for part in [
            "TXID 0000000000000007",
            &"ab".repeat(32),
            "2026-11-22",
            "$0.0500",
            "prefers-color-scheme:dark",
            "@media print",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn what_failed_decides_what_it_means() {
        let check = |name: &str, failed_check: bool, expected: &str| {
            let mut record = record(DrillResult::Failed);
            record.checks[0].name = name.into();
            record.checks[0].result = if failed_check { DrillResult::Failed } else { DrillResult::Passed };
            assert!(meaning(&record).starts_with(expected), "{name}");
            record.restored = None;
            assert!(meaning(&record).starts_with("The replica did not restore"), "{name}, nothing restored");
        };
        check("quick_check", true, "The replica did not restore");
        check("quick_check", false, "The replica restored, and");
        check(COMPARE, true, "The replica restored, but the result differs");
    }

    #[test]
    fn a_terminal_is_not_driven_by_a_name() {
        let text = table(&[record(DrillResult::Failed)], false);
        assert!(!text.contains('\u{1b}'), "{text}");
        let row = text.lines().nth(1).unwrap();
        assert!(row.contains("failed") && row.contains("8.0 KiB") && row.contains("250ms"), "{row}");
        assert!(text.contains("hint: "), "{text}");
    }

    #[test]
    fn json_can_be_read_back() {
        let records = [record(DrillResult::Inconclusive)];
        let read: Vec<DrillRecord> = serde_json::from_str(&pretty(&records).unwrap()).unwrap();
        assert_eq!(read, records);
    }
}
