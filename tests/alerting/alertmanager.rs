//! The real Alertmanager, told as Prometheus tells it, away and back again.

use std::path::Path;

use jiff::Timestamp;
use streamgauge::domain::alerting::{HttpOptions, ReceiverKind};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::verdict::Severity;

use crate::lab::alertmanager::{ALERTMANAGER, webhook_yaml};
use crate::lab::certificates::Certificate;
use crate::lab::recorder::{Answer, Recorder};
use crate::lab::{Lab, free_port, wait_for};
use crate::site::{Site, alert, alertmanager, over, target};

/// The pages that a webhook of Alertmanager got: `firing shop`.
fn pages(hook: &Recorder) -> Vec<String> {
    let of = |page: serde_json::Value| {
        let alerts = page["alerts"].as_array().unwrap().clone();
        let word = |alert: &serde_json::Value| {
            format!("{} {}", alert["status"].as_str().unwrap(), alert["labels"]["database"].as_str().unwrap())
        };
        alerts.iter().map(word).collect::<Vec<_>>()
    };
    hook.requests().iter().flat_map(|request| of(request.json())).collect()
}

#[test]
fn an_alertmanager_pages_once_and_resolves() {
    let lab = Lab::find();
    for version in ALERTMANAGER {
        let (home, hook) = (tempfile::tempdir().unwrap(), Recorder::start());
        let am = lab.alertmanager(version, home.path(), &webhook_yaml(&hook.url("/")), &[]);
        am.wait_until_ready();
        let site = Site::start(vec![alertmanager(&[format!("http://{}", am.address)])], None);
        let lag = alert("ReplicationLag", "shop", Severity::Critical);
        site.tell(std::slice::from_ref(&lag));
        wait_for("the page", || pages(&hook) == ["firing shop"]);
        let alerts = am.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        let labels = serde_json::to_value(&lag.labels).unwrap();
        assert_eq!((&alerts[0]["labels"], &alerts[0]["generatorURL"]), (&labels, &"http://host:10099/".into()));
        let instant = |field: &str| alerts[0][field].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(instant("startsAt"), lag.fired_at.unwrap());
        // It is told again and again, and each time it is valid for longer.
        let first = instant("endsAt");
        wait_for("a later end", || am.alerts()[0]["endsAt"].as_str().unwrap().parse::<Timestamp>().unwrap() > first);
        site.tell(&[over(&lag)]);
        wait_for("the end", || pages(&hook) == ["firing shop", "resolved shop"]);
        assert_eq!(am.alerts(), Vec::<serde_json::Value>::new());
        let report = site.report();
        assert_eq!((report.kind, report.waiting, report.failing_since), ("alertmanager", 0, None));
    }
}

/// `AgentDown` fires for a few minutes more when the agent is back, and hides nothing then that somebody has to be woken for.
#[test]
fn an_agent_that_was_down_holds_back_tickets_and_no_pages() {
    let lab = Lab::find();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/alertmanager.example.yml");
    let example = std::fs::read_to_string(example).unwrap();
    let inhibitions = &example[example.find("inhibit_rules:").unwrap()..];
    for version in ALERTMANAGER {
        let (home, hook) = (tempfile::tempdir().unwrap(), Recorder::start());
        let yaml = webhook_yaml(&hook.url("/")) + inhibitions;
        let am = lab.alertmanager(version, home.path(), &yaml, &[]);
        am.wait_until_ready();
        let site = Site::start(vec![alertmanager(&[format!("http://{}", am.address)])], None);
        let down = alert("AgentDown", "agent", Severity::Critical);
        site.tell(std::slice::from_ref(&down));
        wait_for("the page", || pages(&hook) == ["firing agent"]);
        let [ticket, page] =
            [alert("DiskFilling", "full", Severity::Warning), alert("ReplicationLag", "shop", Severity::Critical)];
        site.tell(&[down, ticket, page]);
        wait_for("the other page", || pages(&hook) == ["firing agent", "firing shop"]);
        let state = |name: &str| {
            let alerts = am.alerts();
            let found = alerts.iter().find(|alert| alert["labels"]["database"] == name);
            found.map(|alert| alert["status"]["state"].as_str().unwrap().to_owned())
        };
        wait_for("the ticket to be held back", || state("full").as_deref() == Some("suppressed"));
        assert_eq!(pages(&hook), ["firing agent", "firing shop"]);
    }
}

#[test]
fn more_alerts_than_fit_into_one_request_all_arrive() {
    let lab = Lab::find();
    let (home, hook) = (tempfile::tempdir().unwrap(), Recorder::start());
    let am = lab.alertmanager(ALERTMANAGER[1], home.path(), &webhook_yaml(&hook.url("/")), &[]);
    am.wait_until_ready();
    let site = Site::start(vec![alertmanager(&[format!("http://{}", am.address)])], None);
    let alerts: Vec<_> = (0..200).map(|n| alert("ReplicationLag", &format!("db{n}"), Severity::Critical)).collect();
    site.tell(&alerts);
    wait_for("all of them", || am.alerts().len() == 200);
    wait_for("everything to be told", || site.report().waiting == 0);
}

#[test]
fn one_that_is_down_learns_what_is_true_when_it_is_back_and_a_restart_loses_nothing() {
    let lab = Lab::find();
    let (home, hook) = (tempfile::tempdir().unwrap(), Recorder::start());
    let yaml = webhook_yaml(&hook.url("/"));
    let address = format!("127.0.0.1:{}", free_port());
    let start = |home: &Path| {
        let am = lab.alertmanager_at(&address, ALERTMANAGER[1], home, &yaml, &[]);
        am.wait_until_ready();
        am
    };
    let receivers = || vec![alertmanager(&[format!("http://{address}")])];
    let site = Site::start(receivers(), None);
    let [shop, past, later] = ["shop", "past", "later"].map(|name| alert("ReplicationLag", name, Severity::Critical));
    site.tell(&[shop.clone(), past]);
    wait_for("a failure", || site.report().failing_since.is_some());
    let report = site.report();
    assert_eq!((report.waiting, report.failures[0].0), (2, "unreachable"), "{report:?}");
    site.tell(std::slice::from_ref(&shop));
    // It comes up: what still fires is told, what came and went is not.
    let mut am = start(home.path());
    wait_for("the page", || pages(&hook) == ["firing shop"]);
    site.tell(&[shop.clone(), later.clone()]);
    wait_for("the second page", || pages(&hook).contains(&"firing later".to_owned()));

    // Alertmanager is gone when `later` ends, and then we are killed.
    am.process.stop();
    site.tell(&[shop.clone(), over(&later)]);
    wait_for("a failure", || site.report().failing_since.is_some());
    let saved = site.kill().expect("something to save");
    let _am = start(home.path());
    let site = Site::resume(receivers(), None, Some(&saved));
    // The end is not on the board any more: it was forgotten meanwhile.
    site.tell(std::slice::from_ref(&shop));
    wait_for("the end", || pages(&hook).contains(&"resolved later".to_owned()));
    site.tell(&[over(&shop)]);
    wait_for("the last end", || pages(&hook).contains(&"resolved shop".to_owned()));
    let mut pages = pages(&hook);
    pages.sort();
    assert_eq!(pages, ["firing later", "firing shop", "resolved later", "resolved shop"]);
}

#[test]
fn an_answer_that_never_comes_or_is_an_error_is_a_failure_that_ends() {
    let hook = Recorder::start();
    let site = Site::start(vec![alertmanager(&[hook.url("")])], None);
    let lag = alert("ReplicationLag", "shop", Severity::Critical);
    let failures = |reason: &str| {
        let report = site.report();
        report.failures.iter().find(|(kind, _)| *kind == reason).map_or(0, |(_, count)| *count)
    };
    for (answer, reason) in [(Answer::Status(500, "out of order".into()), "failed"), (Answer::Never, "timeout")] {
        hook.answer(answer);
        site.tell(std::slice::from_ref(&lag));
        wait_for(reason, || failures(reason) > 0);
        let report = site.report();
        assert_eq!((report.notifications, report.waiting), (0, 1), "{report:?}");
        let message = report.reason.unwrap().message;
        assert!(message.starts_with(&format!("send to {}: ", hook.address)), "{message}");
    }
    hook.answer(Answer::Status(200, String::new()));
    wait_for("it to be told", || site.report().failing_since.is_none());
    assert_eq!(site.report().waiting, 0);
    let told = hook.requests().last().unwrap().json();
    assert_eq!(told[0]["labels"]["database"], "shop");
    // Nothing piled up: each attempt is about the one alert that fires.
    assert!(hook.requests().iter().all(|request| request.json().as_array().unwrap().len() == 1));
}

/// It was taken: a second time would be told twice, and again, and again.
#[test]
fn a_message_whose_answer_breaks_off_behind_its_first_line_has_arrived() {
    let hook = Recorder::start();
    hook.answer(Answer::Half);
    let site = Site::start(vec![alertmanager(&[hook.url("")])], None);
    site.tell(&[alert("ReplicationLag", "shop", Severity::Critical)]);
    wait_for("an outcome", || site.report().notifications > 0);
    let report = site.report();
    assert_eq!((report.notifications, report.waiting, report.failing_since), (1, 0, None), "{report:?}");
    assert!(report.failures.is_empty() && hook.requests().len() == 1);
}

#[test]
fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let hook = Recorder::start();
    hook.answer(Answer::Later(3600));
    let site = Site::start(vec![alertmanager(&[hook.url("")])], None);
    let lag = alert("ReplicationLag", "shop", Severity::Critical);
    site.tell(std::slice::from_ref(&lag));
    wait_for("a failure", || !site.report().failures.is_empty());
    // The first attempts would follow each other within three seconds.
    hook.answer(Answer::Status(200, String::new()));
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!((hook.requests().len(), site.report().waiting), (1, 1));

    let prompt = Recorder::start();
    prompt.answer(Answer::Later(1));
    let site = Site::start(vec![alertmanager(&[prompt.url("")])], None);
    site.tell(&[lag]);
    wait_for("a failure", || !site.report().failures.is_empty());
    prompt.answer(Answer::Status(200, String::new()));
    wait_for("it to be told", || site.report().notifications == 1);
}

#[test]
fn tls_and_passwords_are_those_of_the_configuration() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let Certificate { certificate, key } = Certificate::self_signed(home.path(), "server", "IP:127.0.0.1");
    // "geheim", by bcrypt.
    let hash = bcrypt(&lab, "geheim");
    let web = home.path().join("web.yml");
    let (cert, key) = (certificate.display(), key.display());
    std::fs::write(
        &web,
        format!("tls_server_config: {{cert_file: {cert}, key_file: {key}}}\nbasic_auth_users: {{me: \"{hash}\"}}\n"),
    )
    .unwrap();
    let hook = Recorder::start();
    let flag = format!("--web.config.file={}", web.display());
    let am = lab.alertmanager(ALERTMANAGER[1], home.path(), &webhook_yaml(&hook.url("/")), &[&flag]);
    let urls = || vec![Secret::new(format!("https://{}", am.address))];
    let with = |http: HttpOptions| {
        let site = Site::start(vec![target("am", ReceiverKind::Alertmanager { urls: urls(), http })], None);
        site.tell(&[alert("ReplicationLag", "shop", Severity::Critical)]);
        wait_for("an outcome", || site.report().failing_since.is_some() || site.report().notifications > 0);
        site.report().reason.map_or_else(
            || "ok".to_owned(),
            |reason| format!("{} | {}", reason.kind.as_str(), reason.hint.unwrap_or_default()),
        )
    };
    let basic = |password: &str| Some(("me".to_owned(), Secret::new(password)));
    let trusted = HttpOptions { ca_file: Some(certificate.clone()), ..HttpOptions::default() };
    let hint = "denied | check url, username, password and bearer-token";
    assert_eq!(with(HttpOptions::default()), "unreachable | configure the certificate authority as ca-file");
    assert_eq!(with(trusted.clone()), hint);
    assert_eq!(with(HttpOptions { basic: basic("wrong"), ..trusted.clone() }), hint);
    assert_eq!(with(HttpOptions { basic: basic("geheim"), ..trusted }), "ok");
    let careless = HttpOptions { skip_verify: true, basic: basic("geheim"), ..HttpOptions::default() };
    assert_eq!(with(careless), "ok");
    wait_for("the page", || pages(&hook).contains(&"firing shop".to_owned()));
}

/// A password as Alertmanager's web configuration wants it.
fn bcrypt(lab: &Lab, password: &str) -> String {
    // Python's own crypt knows it on every Linux that the lab runs on.
    let script = "import crypt, sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))";
    let made = lab.program("py/bin/python").args(["-W", "ignore", "-c", script, password]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}
