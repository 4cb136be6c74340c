//! What is printed, with docs/COST.md held to it; `UPDATE=1` writes its sample and its prices anew.

use super::*;
use crate::domain::cost::tests::{NOW, two_days, watched};
use crate::domain::price::{Terms, USUAL};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COST.md");

/// A replica of a database that is written every so many seconds, at a host.
fn costed(every: u64, host: Option<&str>, changes: &[&str]) -> Costed {
    let mut costed = Costed {
        database: Some("shop".to_owned()),
        replica: "s3".to_owned(),
        url: "s3://backups/shop".to_owned(),
        listed_at: NOW,
        requests: 12,
        ..Costed::default()
    };
    let changes: Vec<Change> = changes.iter().map(|text| read_change(text).unwrap()).collect();
    let is = Settings { authority: host.map(str::to_owned), ..watched() };
    fill(&mut costed, &two_days(every, 500), &is, &ConfiguredPrices::default(), &changes);
    costed
}

fn printed(replicas: Vec<Costed>) -> String {
    let asked = replicas.iter().any(|one| one.then.is_some());
    table::table(&Answer::of(replicas, asked), 400)
}

/// The document has this text between two others.
fn hold(begin: &str, end: &str, text: &str) {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(begin).expect(begin);
    let at = rest.find(end).expect(end);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{begin}{text}{}", &rest[at..])).unwrap();
    } else {
        assert_eq!(&rest[..at], text, "run with UPDATE=1 and read what changed");
    }
}

#[test]
fn the_document_shows_what_is_printed_and_the_prices() {
    let shown = Answer::of(vec![costed(15, None, &["store=wasabi"])], true);
    hold("$ streamgauge cost shop --what-if store=wasabi\n", "```", &table::table(&shown, 100));
    let dollars = |price: f64| if price > 0.0 { format!("{price}") } else { "free".to_owned() };
    let mut rows = String::new();
    for (index, row) in USUAL.iter().enumerate() {
        let Prices { terms, .. } = row.prices;
        let Terms { minimum_days, minimum_bytes, refusals_billed, free_reads, free_others } = terms;
        let before = USUAL[..index].last().filter(|before| before.provider == row.provider);
        if row.prices == Prices::FREE || before.is_some_and(|before| before.class == row.class) {
            continue;
        }
        let minimum = match (minimum_days, minimum_bytes) {
            (0.0, _) => "none".to_owned(),
            (days, 0) => format!("{days} days"),
            (days, bytes) => format!("{days} days, {} KiB", bytes >> 10),
        };
        let refused = if refusals_billed { "yes" } else { "no" };
        let free = if free_reads == 0 {
            "none".to_owned()
        } else {
            let of = |count: u64| table::grouped(count as f64);
            format!("{} reads, {} others", of(free_reads), of(free_others))
        };
        let places = if row.host.is_empty() { row.kind.as_str() } else { row.host };
        let class = if row.class.is_empty() { "the only one" } else { row.class };
        let of = row.prices;
        let prices = [
            of.reads_per_thousand,
            of.lists_per_thousand,
            of.others_per_thousand,
            of.deletes_per_thousand,
            of.received_per_gigabyte,
            of.stored_per_gigabyte,
        ]
        .map(dollars)
        .join(" | ");
        rows += &format!("| {} | `{places}` | {class} | {prices} | {minimum} | {refused} | {free} |\n", row.provider);
    }
    hold("|---|---|---|---|---|---|---|---|---|---|---|---|\n", "\n\n", rows.trim_end());
}

#[test]
fn the_sums_are_those_of_the_lines() {
    let costed = costed(1, None, &["monitor-interval=10s", "l0-retention-check-interval=5m"]);
    let [now, then] = [costed.now.unwrap(), costed.then.unwrap()];
    for month in [&now, &then] {
        let sum: f64 = month.parts.iter().map(|row| row.dollars.unwrap()).sum();
        assert!((sum - month.dollars_per_month.unwrap()).abs() < 1e-9, "{month:?}");
    }
    assert!(now.dollars_per_month > then.dollars_per_month.map(|dollars| 3.0 * dollars), "{now:?} {then:?}");
}

#[test]
fn what_nobody_knows_is_unknown() {
    let own = costed(15, Some("minio.local:9000"), &["store=b2"]);
    let text = printed(vec![own.clone(), costed(15, None, &["store=b2"])]);
    assert!(text.contains("no prices known for minio.local:9000; give them under [drill.price]"), "{text}");
    assert!(text.contains("Backblaze B2 gives each account 76 000 reads"), "{text}");
    assert!(text.lines().last().is_some_and(|sum| sum.starts_with("2 replicas: unknown a month, then $")), "{text}");
    assert!(own.now.is_some_and(|now| now.dollars_per_month.is_none() && now.parts[0].dollars.is_none()));
    let class = costed(15, None, &["storage-class=DEEP_ARCHIVE"]);
    assert_eq!(class.notes, ["no prices known for s3, storage class DEEP_ARCHIVE; give them under [drill.price]"]);
    let failed =
        Costed { reason: Some(Reason::new(ReasonKind::Denied, "list s3://b: access denied")), ..Costed::default() };
    let answer = Answer::of(vec![failed], false);
    assert_eq!(answer.now.dollars_per_month, None);
    assert!(table::table(&answer, 80).contains("unknown           list s3://b: access denied"));
}

#[test]
fn early_deletion_is_said_in_plain_words() {
    let text = printed(vec![costed(15, Some("s3.wasabisys.com"), &[])]);
    let said =
        "Wasabi bills each of the 8 953 objects a day that Litestream deletes, most of them after 5m, for 90 days: $";
    assert!(text.contains(said) && text.contains("A longer monitor-interval"), "{text}");
    let text = printed(vec![costed(15, None, &["storage-class=STANDARD_IA", "sync-interval=10s"])]);
    assert!(text.contains("storage-class STANDARD_IA does that") && text.contains("for 30 days"), "{text}");
    assert!(text.contains("sync-interval changes nothing here"), "{text}");
    assert!(text.contains("prices            Amazon S3 STANDARD, then Amazon S3 STANDARD_IA, 2026-11"), "{text}");
    let many = printed(vec![costed(15, None, &[]); 6]);
    assert_eq!(many.lines().count(), 8, "{many}");
}

#[test]
fn changes_are_read_and_mistakes_say_what_is_accepted() {
    let error = |text: &str| read_change(text).expect_err(text);
    assert!(
        error("listing-intervall=1m")
            .starts_with("unknown setting `listing-intervall`, did you mean `listing-interval`?")
    );
    assert!(error("interval=1m").contains("accepted: monitor-interval, sync-interval"));
    assert!(error("store=nobody").contains("accepted: a word that only one of these has: Amazon S3"));
    assert!(error("monitor-interval=0").contains("above zero") && error("monitor-interval=soon").contains("accepted"));
    assert!(error("retention").contains("KEY=VALUE") && error("storage-class=").contains("storage class"));
    let changes: Vec<Change> = ["storage-class=STANDARD_IA", "store=amazon", "l0-retention=0", "verify.content=1MiB"]
        .iter()
        .map(|text| read_change(text).unwrap())
        .collect();
    let mut settings = watched();
    change::apply(&changes, &mut settings);
    assert_eq!((settings.class.as_deref(), settings.level0_retention), (Some("STANDARD_IA"), None));
    assert_eq!((settings.authority.as_deref(), settings.verify_bytes), (Some("amazonaws.com"), 1_048_576.0));
}

#[test]
fn the_shape_of_the_json_is_as_documented() {
    let answer = Answer::of(vec![costed(15, Some("s3.wasabisys.com"), &["monitor-interval=10s"])], true);
    let json = serde_json::to_value(&answer).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let replica = &json["replicas"][0];
    let month = &replica["now"];
    let mut told =
        vec![keys(&json), keys(replica), keys(month), keys(&month["parts"][0]), keys(&month["early_deletion"])];
    told.push(keys(&json["now"]));
    for text in told.iter().flat_map(|keys| keys.split(' ')) {
        assert!(AFTER_HELP.contains(text), "{text} is not in the help");
    }
    assert_eq!((&month["parts"][1]["part"], &month["provider"]), (&"early_deletion".into(), &"Wasabi".into()));
}
