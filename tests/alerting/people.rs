//! Webhook, chat, pager, push and mail: what arrives, as it arrives.

use std::path::PathBuf;

use serde_json::Value;
use streamgauge::domain::alerting::{
    DeadmanTarget, HttpOptions, ReceiverKind, ReceiverTarget, SmtpSecurity, SmtpTarget,
};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::verdict::Severity;

use crate::lab::certificates::Certificate;
use crate::lab::recorder::{Recorded, Recorder};
use crate::lab::{Lab, Process, free_port, wait_for};
use crate::site::{Site, alert, over, target};

/// The requests for an alert, for another one beside it, and for the end of both.
fn told(hook: &Recorder, target: ReceiverTarget, requests: usize) -> Vec<Recorded> {
    let site = Site::start(vec![target], None);
    let first = alert("ReplicationLag", "shop", Severity::Critical);
    let second = alert("SnapshotStale", "crm", Severity::Warning);
    site.tell(std::slice::from_ref(&first));
    wait_for("the first message", || site.report().notifications == 1);
    site.tell(&[first.clone(), second.clone()]);
    wait_for("the second message", || site.report().notifications == 2);
    site.tell(&[over(&first), over(&second)]);
    wait_for("the end", || hook.requests().len() == requests && site.report().waiting == 0);
    hook.requests()
}

#[test]
fn a_webhook_gets_our_json() {
    let hook = Recorder::start();
    let http = HttpOptions { bearer: Some(Secret::new("geheim")), ..HttpOptions::default() };
    let requests = told(&hook, target("gw", ReceiverKind::Webhook { url: Secret::new(hook.url("/in?a=b")), http }), 3);
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/in?a=b"));
    assert_eq!(requests[0].header("authorization"), Some("Bearer geheim"));
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    let json = requests[0].json();
    let head = [&json["version"], &json["receiver"], &json["page_url"], &json["repeated"], &json["omitted"]];
    assert_eq!(head, [&Value::from(1), &"gw".into(), &"http://host:10099/".into(), &false.into(), &0.into()]);
    let one = &json["alerts"][0];
    assert_eq!((&one["status"], &one["severity"]), (&"firing".into(), &"critical".into()));
    assert_eq!(
        (&one["value"], &one["labels"]["database"], &one["ends_at"]),
        (&360.0.into(), &"shop".into(), &Value::Null)
    );
    assert_eq!(one["fingerprint"].as_str().unwrap().len(), 64);
    let both = requests[2].json();
    assert_eq!(both["alerts"].as_array().unwrap().len(), 2);
    assert_eq!((&both["alerts"][0]["status"], &both["firing_total"]), (&"resolved".into(), &0.into()));
    // What docs/ALERTING.md shows has the fields that are sent, and no others.
    let page = include_str!("../../docs/ALERTING.md");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let shown: Value = serde_json::from_str(shown).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shown), keys(&json));
    assert_eq!(keys(&shown["alerts"][0]), keys(one));
}

#[test]
fn a_chat_gets_text_that_means_nothing_else() {
    let hook = Recorder::start();
    let kind = ReceiverKind::Slack { url: Secret::new(hook.url("/services/T/B/x")), http: HttpOptions::default() };
    let requests = told(&hook, target("chat", kind), 3);
    assert_eq!(
        requests[0].json(),
        serde_json::json!({ "text": ":red_circle: *critical* shop is behind &lt;its&gt; replica\nIts oldest commit has waited \
                                     for 6 min – &amp; waits.\nLook at Litestream's log.\n\
                                     https://example.org/RUNBOOK.md#replicationlag\nFrom streamgauge on host, http://host:10099/" })
    );
    let last = requests[2].json();
    let last = last["text"].as_str().unwrap();
    assert_eq!(
        last,
        "*2 resolved: shop is behind &lt;its&gt; replica …*\n:white_check_mark: *resolved* shop is behind &lt;its&gt; replica\n\
         :white_check_mark: *resolved* crm is behind &lt;its&gt; replica\nFrom streamgauge on host, http://host:10099/"
    );
    // Discord refuses more than 2000 characters.
    let site = Site::start(
        vec![target(
            "chat",
            ReceiverKind::Slack { url: Secret::new(hook.url("/flood")), http: HttpOptions::default() },
        )],
        None,
    );
    let flood: Vec<_> = (0..500).map(|n| alert("ReplicationLag", &format!("db{n}"), Severity::Critical)).collect();
    site.tell(&flood);
    wait_for("the flood", || hook.requests().iter().any(|request| request.path == "/flood"));
    let text = hook.requests().last().unwrap().json()["text"].as_str().unwrap().to_owned();
    assert!(text.len() < 2000 && text.contains("and 49"), "{text}");
}

#[test]
fn a_pager_gets_an_incident_for_each_alert_and_its_end() {
    let hook = Recorder::start();
    let kind = ReceiverKind::PagerDuty {
        routing_key: Secret::new("R0UT1NG"),
        url: Secret::new(hook.url("/v2/enqueue")),
        http: HttpOptions::default(),
    };
    let events: Vec<Value> = told(&hook, target("pd", kind), 4).iter().map(Recorded::json).collect();
    let actions: Vec<_> = events.iter().map(|event| event["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve", "resolve"]);
    assert_eq!(events[0]["dedup_key"], events[2]["dedup_key"]);
    assert_eq!(events[1]["dedup_key"], events[3]["dedup_key"]);
    assert_ne!(events[0]["dedup_key"], events[1]["dedup_key"]);
    assert!(events.iter().all(|event| event["routing_key"] == "R0UT1NG"));
    let payload = &events[0]["payload"];
    let told =
        [&payload["summary"], &payload["source"], &payload["severity"], &payload["class"], &payload["component"]];
    assert_eq!(told, ["shop is behind <its> replica", "host:10099", "critical", "ReplicationLag", "shop"]);
    assert_eq!(payload["custom_details"]["action"], "Look at Litestream's log.");
    assert_eq!(events[0]["links"][0]["text"], "runbook");
    assert_eq!(events[1]["payload"]["severity"], "warning");
}

#[test]
fn a_push_has_its_words_in_headers_that_can_hold_them() {
    let hook = Recorder::start();
    let kind = ReceiverKind::Ntfy { url: Secret::new(hook.url("/topic")), http: HttpOptions::default() };
    let site = Site::start(vec![target("push", kind)], None);
    let mut odd = alert("ReplicationLag", "café", Severity::Critical);
    odd.annotations.insert("summary".into(), "café\r\nX-Evil: 1 ☃".into());
    site.tell(std::slice::from_ref(&odd));
    wait_for("the push", || site.report().notifications == 1);
    site.tell(&[over(&odd)]);
    wait_for("the end", || site.report().notifications == 2);
    let requests = hook.requests();
    assert_eq!(requests[0].header("title"), Some("CRITICAL: caf?  X-Evil: 1 ?"));
    assert_eq!((requests[0].header("priority"), requests[0].header("tags")), (Some("5"), Some("rotating_light")));
    assert_eq!(requests[0].header("click"), Some("https://example.org/RUNBOOK.md#replicationlag"));
    assert!(requests[0].header("x-evil").is_none() && requests[0].body.contains("To do: Look at Litestream's log."));
    for request in &requests {
        assert!(request.body.ends_with("\nFrom streamgauge on host, http://host:10099/\n"), "{}", request.body);
    }
    assert_eq!((requests[1].header("priority"), requests[1].header("tags")), (Some("3"), Some("white_check_mark")));
}

#[test]
fn a_dead_mans_switch_is_pinged_and_told_why() {
    let hook = Recorder::start();
    let deadman = DeadmanTarget {
        url: Secret::new(hook.url("/uuid?create=1")),
        interval: std::time::Duration::from_millis(200),
        severity: Severity::Critical,
        http: HttpOptions::default(),
    };
    let site = Site::start(Vec::new(), Some(deadman));
    site.tell(&[alert("SnapshotStale", "crm", Severity::Warning)]);
    wait_for("two pings", || hook.requests().len() > 1);
    site.tell(&[alert("ReplicationLag", "shop", Severity::Critical)]);
    wait_for("the failure", || hook.requests().iter().any(|request| request.method == "POST"));
    let requests = hook.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("GET", "/uuid?create=1"));
    let fail = requests.iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(fail.path, "/uuid/fail?create=1");
    assert!(
        fail.body.starts_with("critical ReplicationLag: shop is behind <its> replica. Its oldest"),
        "{}",
        fail.body
    );
    assert!(fail.body.ends_with("\nFrom streamgauge on host, http://host:10099/\n"), "{}", fail.body);
    assert!(site.report().last_success_at.is_some());
}

/// A real SMTP server that prints each mail as it was sent.
const SMTP: &str = r#"
import ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
mode, port, cert, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
class Handler:
    async def handle_DATA(self, server, session, envelope):
        print("MAIL", session.ssl is not None, envelope.mail_from, ",".join(envelope.rcpt_tos), flush=True)
        print(envelope.content.decode(), flush=True)
        print("END", flush=True)
        return "250 OK"
def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"me" and data.password == b"geheim", handled=False)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
options = dict(hostname="127.0.0.1", port=port)
if mode == "tls": options.update(ssl_context=context)
if mode == "starttls": options.update(tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticate)
Controller(Handler(), **options).start()
time.sleep(1000)
"#;

#[test]
fn mail_arrives_over_starttls_tls_and_nothing() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let Certificate { certificate, key } = Certificate::self_signed(home.path(), "server", "IP:127.0.0.1");
    for (mode, security) in
        [("starttls", SmtpSecurity::StartTls), ("tls", SmtpSecurity::Tls), ("none", SmtpSecurity::None)]
    {
        let port = free_port();
        let mut python = lab.program("py/bin/python");
        python.args(["-c", SMTP, mode, &port.to_string()]).args([&certificate, &key]);
        let mut server = Process::spawn(&mut python, home.path().join(mode));
        server.wait_until_listening(&format!("127.0.0.1:{port}"));
        let smtp = |password: &str, ca_file: Option<PathBuf>| SmtpTarget {
            host: "127.0.0.1".into(),
            port,
            security,
            login: (mode == "starttls").then(|| ("me".to_owned(), Secret::new(password))),
            from: "Streamgauge <sg@example.org>".into(),
            to: vec!["ops@example.org".into(), "Boss <boss@example.org>".into()],
            ca_file,
        };
        let start = |smtp: SmtpTarget| {
            let site = Site::start(vec![target("mail", ReceiverKind::Smtp(Box::new(smtp)))], None);
            let mut odd = alert("ReplicationLag", "café", Severity::Critical);
            odd.annotations.insert("summary".into(), "café is behind\r\nBcc: all@example.org".into());
            site.tell(&[odd]);
            wait_for("an outcome", || site.report().failing_since.is_some() || site.report().notifications > 0);
            (site.report().notifications, site.report().reason)
        };
        if security != SmtpSecurity::None {
            let (_, reason) = start(smtp("geheim", None));
            let reason = reason.unwrap();
            assert_eq!(reason.hint.as_deref(), Some("configure the certificate authority as ca-file"), "{reason}");
        }
        if security == SmtpSecurity::StartTls {
            let (_, reason) = start(smtp("wrong-geheim", Some(certificate.clone())));
            let reason = reason.unwrap();
            assert_eq!((reason.kind.as_str(), reason.hint.as_deref()), ("denied", Some("check username and password")));
            assert!(!reason.message.contains("geheim"), "{reason}");
        }
        let (sent, reason) = start(smtp("geheim", (mode != "none").then(|| certificate.clone())));
        assert_eq!((sent, reason), (1, None), "{mode}: {}", server.log());
        let log = server.log();
        // Where TLS is spoken from the start, the server cannot say so; that nothing else reached it was seen above.
        let secured = if mode == "starttls" { "True" } else { "False" };
        assert!(
            log.contains(&format!("MAIL {secured} sg@example.org ops@example.org,boss@example.org")),
            "{mode}: {log}"
        );
        assert_eq!(log.matches("END").count(), 1, "{log}");
        // The subject is not ASCII, and so encoded.
        assert!(log.contains("Subject: CRITICAL: ") && log.contains("Auto-Submitted: auto-generated"), "{log}");
        assert!(!log.lines().any(|line| line.starts_with("Bcc:")), "{log}");
        assert!(log.contains("To do: Look at Litestream's log."), "{log}");
        assert!(log.contains("From streamgauge on host, http://host:10099/"), "{log}");
    }
}
