//! What somebody calls a file or an object, in everything that is shown of it.

use std::sync::Arc;

use serde_json::Value;

use super::asked::{Asked, Problem};
use super::cli::{blocks, nagios, overview};
use super::render::terminal::UNCUT;
use super::render::{api, json, metrics, page};
use crate::domain::check::{Judge, Watching};
use crate::domain::printable::is_unseen;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::{Report, sample};

/// What a terminal obeys, and what turns a line around.
const HOSTILE: &str = "a\u{1b}[2J\u{7}\u{7f}\u{9b}31m\u{202e}bd.pp\u{2066}z";

fn hostile() -> Report {
    let mut report = sample::everything();
    let reason = || Some(Reason::new(ReasonKind::Failed, HOSTILE).with_hint(HOSTILE));
    let agent = &mut report.assessment.agent;
    agent.config.error = Some(HOSTILE.to_owned());
    agent.buckets[0].bucket = HOSTILE.to_owned();
    agent.buckets[0].reason = reason();
    agent.sources[0].source = HOSTILE.to_owned();
    agent.sources[0].error = Some(HOSTILE.to_owned());
    agent.sources[0].warnings = vec![HOSTILE.to_owned()];
    agent.receivers[0].receiver = HOSTILE.to_owned();
    for database in &mut report.assessment.databases {
        let database = Arc::make_mut(database);
        database.reason = reason().map(Box::new);
        if let Some(local) = database.local_mut() {
            local.path = format!("/{HOSTILE}.db");
        }
        for replica in &mut database.replicas {
            replica.name = HOSTILE.to_owned();
            replica.url = format!("s3://{HOSTILE}/app");
            replica.bucket = Some(HOSTILE.to_owned());
            replica.reason = reason().map(Box::new);
        }
    }
    report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, sample::now());
    report
}

#[test]
fn no_output_has_a_character_that_a_terminal_obeys() {
    let report = Arc::new(hostile());
    let asked = Asked::new(&report.assessment.databases[0].name, "");
    let text = |body: Result<Vec<u8>, Problem>| String::from_utf8(body.expect("an answer")).expect("text");
    let unknown = Problem::not_found("database", HOSTILE);
    let openmetrics = metrics::openmetrics(&report);
    let outputs = [
        ("metrics", metrics::to_text(&openmetrics)),
        ("OpenMetrics", openmetrics),
        ("JSON", json::json(&report).expect("written")),
        ("indented JSON", json::pretty(&*report).expect("written")),
        ("databases", text(api::databases(&report, &Asked::default()).map(|made| made.body))),
        ("database", text(api::database(&report, &asked).map(|made| made.body))),
        ("checks", text(api::checks(&report, &Asked::default()).map(|made| made.body))),
        ("alerts", text(api::alerts(&report, &Asked::default()).map(|made| made.body))),
        ("restorable", text(api::restorable(&report, &Asked::default()).map(|made| made.body))),
        ("front page", text(page::front(&report, &Asked::default()))),
        ("page", text(page::database(&report, &asked))),
        ("page of a problem", text(Ok(page::problem(&unknown)))),
        ("blocks", blocks::blocks(&report, false, UNCUT)),
        ("overview", overview::overview(&report, &overview::Drills::new(), &Default::default(), false, 100)),
        ("Nagios", nagios::nagios(&report)),
    ];
    for (what, output) in &outputs {
        let obeyed = output.char_indices().find(|(_, character)| is_unseen(*character) && *character != '\n');
        if let Some((at, character)) = obeyed {
            let around: String =
                output.chars().skip(output[..at].chars().count().saturating_sub(60)).take(80).collect();
            panic!("{what}: {character:?} in {around:?}");
        }
    }
    let shown = |what: &str| outputs.iter().find(|(name, _)| *name == what).map(|(_, output)| output).expect("made");
    let url = "url=\"s3://a\\\\u{1b}[2J\\\\u{7}\\\\u{7f}\\\\u{9b}31m\\\\u{202e}bd.pp\\\\u{2066}z/app\"";
    assert!(shown("metrics").contains(url) && shown("OpenMetrics").contains(url));
    // Of JSON the values are as they were.
    for what in ["JSON", "indented JSON"] {
        let value: Value = serde_json::from_str(shown(what)).expect("JSON");
        let replica = &value["databases"][0]["replicas"][0];
        assert_eq!((replica["bucket"].as_str(), replica["reason"]["message"].as_str()), (Some(HOSTILE), Some(HOSTILE)));
    }
}
