//! The JSON API of the binary: answers are as the description says that it serves, and whatever is asked is answered.

use std::fs;

use super::lab::agent::Agent;
use super::lab::{http, wait_for};
use super::{database, watching};

#[path = "../support/openapi.rs"]
mod openapi;

const METRIC: &str = "streamgauge_database_size_bytes";

#[test]
fn what_a_real_agent_answers_is_as_it_describes_itself() {
    let home = tempfile::tempdir().unwrap();
    // One that is there, one that is not, and one whose name has to be written in another way.
    let paths = ["app.db", "gone.db", "a & b <\u{e9}>.db"].map(|name| home.path().join(name));
    let _connections = [database(&paths[0]), database(&paths[2])];
    let agent = Agent::start(home.path(), &watching("", &paths), &[]);
    agent.wait_until_ready();
    wait_for("a history", || agent.get(&history("app", "")).json()["since"].is_string());

    let served = agent.get("/api/v1/openapi.yaml");
    assert_eq!(served.header("content-type"), Some("application/yaml"));
    assert_eq!(served.text(), fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml")).unwrap());
    let document = openapi::read(&served.text());

    let hostile = ["%00", "..%2F..%2Fetc%2Fpasswd", "%3Cscript%3E", "%0d%0aX:%20y", "%ff%fe", "%", &"a".repeat(10_000)];
    let mut asked: Vec<(&str, String, u16)> = Vec::new();
    for path in ["/api/v1/report", "/api/v1/databases", "/api/v1/checks", "/api/v1/alerts", "/api/v1/restorable"] {
        asked.push((path, path.to_owned(), 200));
    }
    for part in ["/api/v1/databases", "/api/v1/checks", "/api/v1/restorable"] {
        asked.push((part, format!("{part}?limit=1"), 200));
        asked.push((part, format!("{part}?after=zzz&limit=1"), 200));
        asked.push((part, format!("{part}?limit=1001"), 400));
        asked.extend(hostile.map(|name| (part, format!("{part}?after={name}&limit=1"), 200)));
        asked.extend(hostile.map(|name| (part, format!("{part}?{name}={name}"), 400)));
    }
    let (one, list) = ("/api/v1/databases/{name}", "/api/v1/history");
    asked.push((one, "/api/v1/databases/app".to_owned(), 200));
    asked.push((one, format!("/api/v1/databases/{}", http::encode("a & b <\u{e9}>")), 200));
    asked.extend(hostile.map(|name| (one, format!("/api/v1/databases/{name}"), 404)));
    asked.push((list, history("app", ""), 200));
    asked.push((list, history("app", "&from=2026-01-01T00:00:00Z&until=4e9"), 200));
    asked.push((list, history("app", "&from=2&until=1"), 400));
    asked.push((list, history("none", "&from=2&until=1"), 400));
    asked.push((list, history("none", "&from=1&until=2"), 404));
    asked.extend(hostile.map(|name| (list, history(name, ""), 404)));
    asked.extend(hostile.map(|name| (list, history("app", &format!("&from={name}")), 400)));
    for (path, target, status) in asked {
        let answer = agent.get(&target);
        assert_eq!(answer.status, status, "{target:.200}: {:.200}", answer.text());
        let response = &document["paths"][path]["get"]["responses"][status.to_string()];
        let response = openapi::resolve(&document, response);
        let schema = &response["content"][answer.header("content-type").unwrap()]["schema"];
        openapi::check(&document, schema, &answer.json()).unwrap_or_else(|why| panic!("{target}: {why}"));
        for (name, _) in &answer.headers {
            let described = response["headers"].as_object().unwrap().keys().any(|key| key.eq_ignore_ascii_case(name));
            let of_the_body = ["content-type", "content-length", "x-content-type-options"].contains(&name.as_str());
            assert!(described || of_the_body, "{target}: {status} with a header {name}");
        }
    }
    wait_for("nothing new", || {
        let tag = agent.get("/api/v1/alerts").header("etag").unwrap().to_owned();
        let again = http::get(&agent.address, "/api/v1/alerts", &[("If-None-Match", &tag)]).unwrap();
        assert!(again.status == 304 || again.header("etag") != Some(&tag), "{}", again.status);
        again.status == 304
    });
}

#[test]
fn examples_of_the_documentation_are_answered() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("shop.db");
    let _connection = database(&path);
    let replica = home.path().join("replica");
    let replica = format!("[[database.replica]]\nname = \"s3\"\nurl = \"file://{}\"\n", replica.display());
    let agent = Agent::start(home.path(), &(watching("", [&path]) + &replica), &[]);
    agent.wait_until_ready();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/API.md")).unwrap();
    let mut paths: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("$ curl")) {
        let target = line.split('\'').nth(1).unwrap().strip_prefix("127.0.0.1:10099").unwrap();
        let answer = agent.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        paths.push(target.split('?').next().unwrap().replace("/shop", "/{name}"));
    }
    let document = openapi::read(&agent.get("/api/v1/openapi.yaml").text());
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(paths.contains(path), "{path} has no example");
        assert!(text.contains(&format!("| `{}` |", path.replace("{name}", "NAME"))), "{path} is not in the table");
    }
}

fn history(database: &str, range: &str) -> String {
    format!("/api/v1/history?database={database}&metric={METRIC}{range}")
}

/// Where a link of an answer leads to.
fn linked(answer: &http::Response, path: &str, relation: &str) -> Option<String> {
    let links = answer.header("link")?.split(", ");
    let found = links.filter_map(|link| link.strip_suffix(&format!("; rel=\"{relation}\""))).next()?;
    // What begins with ? replaces the query.
    Some(format!("{path}{}", found.strip_prefix('<')?.strip_suffix('>')?))
}

#[test]
fn links_lead_through_all_parts_and_back() {
    let home = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..7).map(|number| format!("d{number} & \u{e9}")).collect();
    let paths: Vec<_> = names.iter().map(|name| home.path().join(format!("{name}.db"))).collect();
    let agent = Agent::start(home.path(), &watching("", &paths), &[]);
    agent.wait_until_ready();
    let (path, mut target) = ("/api/v1/databases", "/api/v1/databases?limit=3&q=D".to_owned());
    let page = |target: &str| {
        let answer = agent.get(target);
        assert_eq!(answer.status, 200, "{target}");
        let found = answer.json()["databases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>();
        (answer, found)
    };
    let (mut seen, mut parts) = (Vec::new(), Vec::new());
    loop {
        let (answer, found) = page(&target);
        seen.extend(found.clone());
        parts.push(found);
        let Some(next) = linked(&answer, path, "next") else { break };
        target = next;
    }
    assert_eq!((seen, parts.len()), (names, 3));
    for expected in parts.iter().rev() {
        let (answer, found) = page(&target);
        assert_eq!(&found, expected);
        let first = linked(&answer, path, "first");
        assert_eq!(first.is_some(), expected != &parts[0]);
        assert!(first.is_none_or(|first| page(&first).1 == parts[0]));
        target = linked(&answer, path, "prev").unwrap_or_default();
    }
    assert_eq!(target, "", "nothing comes before the first");
}
