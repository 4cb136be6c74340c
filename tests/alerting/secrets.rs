//! No secret of a receiver is seen anywhere, however it fails.

use std::fs;
use std::process::Output;

use crate::lab::agent::Agent;
use crate::lab::recorder::{Answer, Recorder};
use crate::lab::{command, free_port, wait_for};

/// In every secret setting, so that one search finds all.
const CANARY: &str = "kanarienvogel";

/// Every kind of receiver with a secret in each place that takes one, and a dead-man's switch.
fn toml(database: &str, hook: &str, closed: u16, home: &str) -> String {
    format!(
        r#"
[log]
level = "trace"
[[database]]
path = "{database}"
[[receiver]]
kind = "alertmanager"
url = ["http://{hook}/{CANARY}-am", "http://127.0.0.1:{closed}/{CANARY}-am2"]
username = "me"
password = "{CANARY}-password"
repeat-interval = "1s"
[[receiver]]
kind = "webhook"
url = "http://{hook}/in/{CANARY}-hook?token={CANARY}-query"
bearer-token-file = "{home}/token"
[[receiver]]
kind = "slack"
url-file = "{home}/slack"
[[receiver]]
kind = "pagerduty"
url = "http://{hook}/{CANARY}-pd"
routing-key = "{CANARY}-key"
[[receiver]]
kind = "ntfy"
url = "http://{hook}/{CANARY}-topic"
username = "me"
password-file = "{home}/token"
[[receiver]]
kind = "smtp"
host = "127.0.0.1"
port = {closed}
security = "none"
username = "me"
password = "{CANARY}-mail"
from = "a@example.org"
to = "b@example.org"
[deadman]
url = "http://{hook}/{CANARY}-deadman"
interval = "1s"
bearer-token = "{CANARY}-bearer"
"#
    )
}

#[track_caller]
fn clean(what: &str, text: &str) {
    // As AUTH PLAIN and basic authentication would have it, too.
    let encoded = ["me:kanarienvogel-password", "me:kanarienvogel-token", "\0me\0kanarienvogel-mail"].map(base64);
    let found = encoded.iter().map(String::as_str).chain([CANARY]).find(|secret| text.contains(secret));
    assert_eq!(found, None, "{what} shows a secret:\n{text}");
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Without the last group, whose padding depends on what follows.
    let groups = text.as_bytes().chunks_exact(3);
    let digits = groups.flat_map(|group| {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift & 63) as usize]))
    });
    digits.collect()
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn secrets_are_seen_nowhere() {
    let (home, hook, closed) = (tempfile::tempdir().unwrap(), Recorder::start(), free_port());
    let path = home.path();
    let database = path.join("app.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
    fs::write(path.join("token"), format!("{CANARY}-token\n")).unwrap();
    fs::write(path.join("slack"), format!("http://{}/{CANARY}-slack\n", hook.address)).unwrap();
    let text = toml(database.to_str().unwrap(), &hook.address, closed, path.to_str().unwrap());
    hook.answer(Answer::Echo);

    let agent = Agent::start(path, &text, &[]);
    agent.wait_until_ready();
    let config = format!("--config.file={}", agent.config.display());
    let run = |words: &[&str]| {
        let mut program = command(env!("CARGO_BIN_EXE_streamgauge"));
        program.args(words).arg(&config).output().unwrap()
    };
    let tested = run(&["notify", "test"]);
    assert_eq!(tested.status.code(), Some(2), "{}", both(&tested));
    let said = both(&tested);
    for receiver in ["alertmanager", "webhook", "slack", "pagerduty", "ntfy", "smtp", "deadman"] {
        assert!(said.contains(&format!("failed  {receiver}")), "{said}");
    }
    // Each address, and where there is one the password, token or key, came back and is not shown.
    for (receiver, hidden) in
        [("alertmanager", 2), ("webhook", 2), ("slack", 1), ("pagerduty", 2), ("ntfy", 2), ("deadman", 2)]
    {
        let line = said.lines().find(|line| line.starts_with(&format!("failed  {receiver}"))).unwrap();
        assert!(line.matches("[redacted]").count() >= hidden, "the test has lost its point: {line}");
    }
    clean("notify test", &said);
    let checked = run(&["config", "check"]);
    assert!(checked.status.success(), "{}", both(&checked));
    assert!(both(&checked).contains(&format!("receiver webhook  webhook {}, from warning on", hook.address)));
    clean("config check", &both(&checked));

    for answer in [Answer::Half, Answer::Status(302, String::new())] {
        hook.answer(answer);
        let reached = hook.requests().len();
        let again = both(&run(&["notify", "test"]));
        assert!(hook.requests().len() > reached);
        clean("notify test", &again);
    }
    for page in ["/", "/metrics", "/api/v1/report", "/-/healthy"] {
        clean(page, &agent.get(page).text());
    }
    clean("the log", &agent.process.log());

    // Nor is one seen in what is said of a mistake beside it.
    let broken = text
        .replace("kind = \"webhook\"", "kind = \"webhook\"\ntokn = \"kanarienvogel\"")
        .replace(&format!("url = \"http://{}/{CANARY}-pd\"", hook.address), &format!("url = \"{CANARY}://x/\""))
        .replace("/in/", "/in /")
        .replace(&format!("http://{}/{CANARY}-topic", hook.address), "http://me:kanarienvogel@x/");
    fs::write(&agent.config, broken).unwrap();
    let refused = run(&["config", "check"]);
    assert_eq!(refused.status.code(), Some(2), "{}", both(&refused));
    for expected in ["not the address of an HTTP server", "unknown key", "not an address", "a user name or a password"]
    {
        assert!(both(&refused).contains(expected), "{expected} is not in {}", both(&refused));
    }
    clean("a refusal", &both(&refused));
}

#[test]
fn a_test_goes_through_each_receiver_and_says_how() {
    let (home, hook) = (tempfile::tempdir().unwrap(), Recorder::start());
    let config = home.path().join("streamgauge.toml");
    let text = format!(
        "[[receiver]]\nkind = 'webhook'\nname = 'good'\nurl = '{}'\n[[receiver]]\nkind = 'ntfy'\nname = 'bad'\n\
         url = 'http://127.0.0.1:{}/x'\n[deadman]\nurl = '{}'\n",
        hook.url("/good"),
        free_port(),
        hook.url("/deadman"),
    );
    fs::write(&config, text).unwrap();
    let run = |words: &[&str]| {
        let mut program = command(env!("CARGO_BIN_EXE_streamgauge"));
        let output = program.args(["notify", "test"]).args(words).arg("--config.file").arg(&config).output().unwrap();
        (output.status.code(), both(&output))
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("ok      good  webhook  {}\n", hook.address)), "{said}");
    assert!(said.contains("failed  bad  ntfy  127.0.0.1") && said.contains("connection refused"), "{said}");
    assert!(said.contains("ok      deadman\n"), "{said}");
    wait_for("the requests", || hook.requests().len() == 3);
    let paths: Vec<_> = hook.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths, ["/good", "/good", "/deadman"]);
    assert_eq!(hook.requests()[0].json()["alerts"][0]["labels"]["alertname"], "StreamgaugeTest");
    let (code, said) = run(&["good", "--severity", "info"]);
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
    assert_eq!(hook.requests()[3].json()["alerts"][0]["severity"], "info");
    let (code, said) = run(&["nobody"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("nobody: no such receiver") && said.contains("the configuration has good, bad"), "{said}");
}
