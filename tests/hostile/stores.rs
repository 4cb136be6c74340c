//! Servers that lie, all at once against one agent: each is told with a reason that fits, none is believed, none harms a
//! replica elsewhere, and each is well again as soon as it tells the truth.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use streamgauge_testkit::http::Answer;
use streamgauge_testkit::replicator::Replicator;
use streamgauge_testkit::{orders, s3};

use super::lab::agent::Agent;
use super::lab::{wait, wait_for};
use super::server::{Liar, Lie};

/// One server that lies. To add one: its name, what it makes of a true answer, and the kind and a part of what has to be
/// said of a replica there; `None` where the lie has to make no difference.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) lie: Lie,
    told: Option<(&'static str, &'static str)>,
}

pub(crate) const HOSTILE: &[Hostile] = &[
    Hostile { name: "date-of-9999", lie: |_, answer| answer.with("Date", "Fri, 31 Dec 9999 23:59:59 GMT"), told: None },
    Hostile { name: "date-of-1601", lie: |_, answer| answer.with("Date", "Mon, 01 Jan 1601 00:00:00 GMT"), told: None },
    Hostile {
        name: "endless-listing",
        lie: |request, answer| {
            if !s3::is_listing(request) || request.parameter("delimiter").is_some() {
                return answer;
            }
            let after = request.parameter("start-after").unwrap_or_default();
            let number: u64 = after.rsplit('~').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let prefix = request.parameter("prefix").unwrap_or_default();
            let keys = (number + 1..=number + 10).map(|number| (format!("{prefix}~{number:020}"), 1));
            Answer::xml(200, &s3::listing(&keys.collect::<Vec<_>>(), true))
        },
        told: Some(("unsupported", "100 pages in a row without a Litestream file")),
    },
    Hostile {
        name: "cut-listing",
        lie: |request, mut answer| {
            if s3::is_listing(request) {
                answer.body.truncate(answer.body.len() - 25);
                answer.length = Some(answer.body.len());
            }
            answer
        },
        told: Some(("unreachable", "the answer was cut short")),
    },
    Hostile {
        name: "breaking-listing",
        lie: |request, mut answer| {
            if s3::is_listing(request) {
                answer.body.truncate(answer.body.len() - 25);
            }
            answer
        },
        told: Some(("unreachable", "the connection broke")),
    },
    Hostile {
        name: "captive-portal",
        lie: |_, _| Answer::new(200, "text/html", "<!DOCTYPE html><html><body>Log in to our network</body></html>"),
        told: Some(("unreachable", "answered with a web page (status 200)")),
    },
    Hostile {
        name: "captive-portal-for-objects",
        lie: |request, answer| match s3::key(request) {
            Some(_) => Answer::new(200, "text/html; charset=utf-8", "<html><body>Log in</body></html>"),
            None => answer,
        },
        told: Some(("unreachable", "answered with a web page (status 200)")),
    },
    Hostile {
        name: "wrong-length",
        lie: |request, mut answer| {
            if s3::key(request).is_some() && answer.status == 206 {
                answer.body.truncate(answer.body.len() / 2);
                answer.length = None;
            }
            answer
        },
        told: Some(("unreachable", "the answer was cut short")),
    },
    Hostile {
        name: "breaking-object",
        lie: |request, mut answer| {
            if s3::key(request).is_some() && answer.status == 206 {
                answer.body.truncate(answer.body.len() / 2);
            }
            answer
        },
        told: Some(("unreachable", "the connection broke")),
    },
    Hostile {
        name: "another-content-each-time",
        lie: |request, mut answer| {
            static TURN: AtomicU8 = AtomicU8::new(1);
            if s3::key(request).is_some() && answer.status == 206 {
                let noise = TURN.fetch_add(2, Ordering::Relaxed);
                answer.body.iter_mut().for_each(|byte| *byte ^= noise);
            }
            answer
        },
        told: Some(("failed", "two reads of it differ")),
    },
    Hostile {
        name: "no-with-words",
        lie: |_, _| {
            let body = "<Error><Code>AccessDenied</Code><Message>Transaction cap exceeded, see the Caps &amp; Alerts \
                        page</Message></Error>";
            Answer::xml(403, body)
        },
        told: Some(("denied", "refused; the store says: Transaction cap exceeded, see the Caps & Alerts page")),
    },
    Hostile {
        name: "busy",
        lie: |_, _| Answer::xml(503, "<Error><Code>Busy</Code></Error>").with("Retry-After", "3"),
        told: Some(("throttled", "the store asks to slow down")),
    },
    Hostile {
        name: "silent",
        lie: |_, mut answer| {
            answer.silent = true;
            answer
        },
        told: Some(("timeout", "no answer")),
    },
];

/// A replica of a small database as Litestream v0.5 lays it out in a bucket, below the key `app`.
pub(crate) fn replica(home: &Path, folder: &Path) {
    let mut replicator = Replicator::create(home).unwrap();
    let connection = orders::open(&home.join("app.db")).unwrap();
    for _ in 0..3 {
        orders::write(&connection).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        replicator.tick(now.as_millis() as u64).unwrap();
    }
    for level in fs::read_dir(home.join("replica/ltx")).unwrap() {
        let level = level.unwrap().path();
        let number: u8 = level.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let below = folder.join(format!("app/{number:04x}"));
        fs::create_dir_all(&below).unwrap();
        for file in fs::read_dir(level).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, below.join(file.file_name().unwrap())).unwrap();
        }
    }
}

pub(crate) fn watched(name: &str, port: u16) -> String {
    format!(
        "[[database]]\nname = \"{name}\"\n[[database.replica]]\nurl = \"s3://bucket/app\"\nregion = \"us-east-1\"\n\
         endpoint = \"http://127.0.0.1:{port}\"\naccess-key-id = \"someone\"\nsecret-access-key = \"something\"\n"
    )
}

/// What is said of the one replica of a database: whether it is up, when it was verified, kind and message of the reason.
fn said(agent: &Agent, name: &str) -> (Option<bool>, String, String, String) {
    let report = agent.report();
    let databases = report["databases"].as_array().unwrap();
    let database = databases.iter().find(|database| database["name"] == name).unwrap();
    let replica = &database["replicas"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let reason = &replica["reason"];
    (replica["up"].as_bool(), text(&replica["verified_at"]), text(&reason["kind"]), text(&reason["message"]))
}

#[test]
fn servers_that_lie_are_told_by_name_and_harm_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("bucket");
    replica(home.path(), &folder);
    let well = s3::serve(folder.clone()).unwrap();
    let servers: Vec<_> = HOSTILE.iter().map(|hostile| Liar::start(folder.clone(), hostile.lie)).collect();
    let mut toml = "[replica]\ntimeout = \"3s\"\ninterval = \"500ms\"\nidle-interval = \"1s\"\n".to_owned();
    toml.push_str(&watched("well", well.port()));
    for (hostile, server) in HOSTILE.iter().zip(&servers) {
        toml.push_str(&watched(hostile.name, server.server.port()));
    }
    let agent = Agent::start(home.path(), &toml, &[]);
    wait_for("a report", || agent.get("/api/v1/report").status == 200);
    wait_for("the healthy one", || said(&agent, "well").0 == Some(true));
    let healthy = || {
        let (up, _, _, message) = said(&agent, "well");
        assert_eq!((up, message.as_str()), (Some(true), ""), "{}", agent.process.log());
    };
    for hostile in HOSTILE {
        let mut last = said(&agent, hostile.name);
        let mut verified = std::collections::BTreeSet::new();
        let done = wait(Duration::from_secs(120), || {
            healthy();
            last = said(&agent, hostile.name);
            match hostile.told {
                Some((kind, message)) => last.2 == kind && last.3.contains(message),
                // It is verified again and again.
                None => {
                    verified.insert(last.1.clone());
                    last.0 == Some(true) && verified.len() > 4
                }
            }
        });
        assert!(done, "{}: {last:?} instead of {:?}", hostile.name, hostile.told);
    }
    let report = agent.report();
    for database in report["databases"].as_array().unwrap() {
        let findings = &database["replicas"][0]["verification"]["findings"];
        assert!(findings.as_array().is_none_or(Vec::is_empty), "{} is called corrupt: {findings}", database["name"]);
    }
    agent.wait_until_ready();

    servers.iter().for_each(Liar::repent);
    for hostile in HOSTILE {
        let mut last = said(&agent, hostile.name);
        let done = wait(Duration::from_secs(180), || {
            healthy();
            last = said(&agent, hostile.name);
            last.0 == Some(true) && last.3.is_empty()
        });
        assert!(done, "{} does not recover: {last:?}", hostile.name);
    }
    assert_eq!(agent.process.log_lines("panicked"), 0, "{}", agent.process.log());
}
