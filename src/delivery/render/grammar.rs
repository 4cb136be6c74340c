//! Holds sentences with a number in them to their grammar: `1 hole` and `6 holes`, in table, page and checks.

use std::sync::Arc;

use proptest::prelude::*;

use super::page;
use crate::delivery::asked::Asked;
use crate::delivery::cli::blocks::blocks;
use crate::delivery::render::terminal::UNCUT;
use crate::domain::check::{Judge, Watching};
use crate::domain::litestream::Hole;
use crate::domain::report::Report;
use crate::domain::report::sample;

/// The nouns that are counted in sentences.
const NOUNS: [&str; 16] = [
    "alert",
    "byte",
    "commit",
    "database",
    "file",
    "gap",
    "generation",
    "hole",
    "key",
    "object",
    "page",
    "replica",
    "request",
    "snapshot",
    "state",
    "warning",
];

/// Numbers beside a noun that does not agree with them.
fn wrong(text: &str) -> Vec<String> {
    let plain = text.replace(['<', '>', '(', ')'], " ");
    let words: Vec<&str> = plain.split_whitespace().filter(|word| *word != "more").collect();
    let wrong = |pair: &&[&str]| {
        let Ok(count) = pair[0].parse::<u64>() else { return false };
        let said = pair[1].trim_end_matches(|character: char| !character.is_alphabetic());
        NOUNS.iter().any(|noun| if count == 1 { said.strip_suffix('s') == Some(*noun) } else { said == *noun })
    };
    words.windows(2).filter(wrong).map(|pair| pair.join(" ")).collect()
}

/// A report in which everything that a sentence counts is there so many times.
fn report(count: u64) -> Report {
    let mut database = sample::pending("app");
    let replica = &mut database.replicas[0];
    let many = usize::try_from(count).unwrap();
    if let Some(coverage) = &mut replica.coverage {
        let coverage = Arc::make_mut(coverage);
        let gap = Hole { after: "0000000000000010".to_owned(), before: "0000000000000012".to_owned() };
        coverage.gaps = vec![gap; many];
        (coverage.snapshots, coverage.expired_objects) = (count, Some(count));
    }
    if let Some(spot) = &mut replica.spot {
        spot.mismatches = spot.mismatches.iter().cycle().take(many).cloned().collect();
        (spot.last_compared, spot.pages_compared) = (count, count);
    }
    if let Some(map) = &mut replica.timeline {
        let map = Arc::make_mut(map);
        (map.gaps, map.largest_gap_seconds) = (count, (count > 0).then_some(60.0));
    }
    if let Some(verification) = &mut replica.verification {
        let verification = Arc::make_mut(verification);
        (verification.needed, verification.needed_verified) = (count, 0);
    }
    let mut report = sample::report((0..count).map(|_| database.clone()).collect());
    report.alerts = sample::full().alerts;
    (report.assessment.over_limit, report.alerts_dropped) = (many, many);
    for source in &mut report.assessment.agent.sources {
        source.databases = many;
    }
    report
}

proptest! {
    #[test]
    fn what_is_counted_agrees_with_its_number(count in 0_u64..5) {
        let mut report = report(count);
        let now = report.generated_at;
        report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, now);
        let told: Vec<_> = report.judged().flat_map(|judged| judged.told(|_| true)).chain(report.verdicts.agent.clone()).collect();
        let details: Vec<&str> = told.iter().map(|verdict| &*verdict.detail).collect();
        for text in [blocks(&report, false, UNCUT), String::from_utf8(page::front(&report, &Asked::default()).expect("made")).expect("text"), details.join("\n")] {
            prop_assert_eq!(wrong(&text), Vec::<String>::new(), "{}", text);
        }
    }
}

#[test]
fn a_wrong_number_is_noticed() {
    let said = "with 1 holes, 6 hole; 0 gap (1 more alerts) but 1 page, 0 pages";
    assert_eq!(wrong(said), ["1 holes,", "6 hole;", "0 gap", "1 alerts"]);
}
