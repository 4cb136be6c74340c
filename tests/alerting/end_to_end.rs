//! From a Litestream that is stopped to the page that somebody gets, and to its end, with nothing but real programs:
//! Litestream, the agent, Prometheus and Alertmanager, old and new.
//!
//! Prometheus goes by the machine's clock, and the holds in a copy of its rules are shortened. The agent's own alerts hold
//! as long as they say, and its clock is moved. It begins behind the machine's, because Alertmanager takes an end that is
//! still to come for no end.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::agent::Agent;
use crate::lab::alertmanager::{ALERTMANAGER, Alertmanager, webhook_yaml};
use crate::lab::clock::LabClock;
use crate::lab::litestream::{Litestream, printed};
use crate::lab::prometheus::{PROMETHEUS, Prometheus};
use crate::lab::recorder::Recorder;
use crate::lab::writer::Writer;
use crate::lab::{Lab, command, http, wait, wait_for};

const VERSION: &str = "0.5.17";

/// The check that a stopped Litestream fails.
const CHECK: &str = "ReplicationLag";

/// Seconds that the agent's clock is behind where it has to be moved: more than its alert holds and is kept, and not so
/// much that Prometheus, by its own clock, takes the agent's proofs for old.
const BEHIND: i64 = -570;

/// Between two evaluations of the agent.
const EVALUATION: Duration = Duration::from_secs(15);

/// A database that is written, a Litestream that replicates it, and who is told when it does not.
struct Site {
    lab: Lab,
    writer: Writer,
    litestream: Option<Litestream>,
    hook: Recorder,
    home: TempDir,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::find();
        let home = tempfile::tempdir().unwrap();
        // As it should be, so that nothing but Litestream is to blame.
        fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
        let database = home.path().join("shop.db");
        File::options().create(true).append(true).mode(0o600).open(&database).unwrap();
        let mut writer = lab.writer(&database);
        writer.create_table();
        let mut site = Self { lab, writer, litestream: None, hook: Recorder::start(), home };
        site.replicate();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Litestream is started, with the intervals that it has by default but for the syncs, and for its checkpoints: they
    /// are commits, which a moved clock would make look old.
    fn replicate(&mut self) {
        let yaml = format!(
            "dbs:\n  - path: {}\n    monitor-interval: 300ms\n    checkpoint-interval: 1h\n    replica: {{type: file, path: {}, sync-interval: 500ms}}\n",
            self.path("shop.db").display(),
            self.path("replica").display()
        );
        self.litestream = Some(self.lab.replicate(VERSION, self.home.path(), &yaml));
    }

    /// The agent, with a short objective and these settings besides.
    fn agent(&self, clock: Option<&LabClock>, settings: &str) -> Agent {
        let toml = format!(
            "[litestream]\nconfig = [{:?}]\n[objectives]\nrpo = \"5s\"\n[drill]\nenabled = false\n{settings}",
            self.path("litestream.yml")
        );
        let agent = Agent::start_at(clock, self.home.path(), &toml, &self.path("storage"), &[]);
        agent.wait_until_ready();
        agent
    }

    /// Commits are made and replicated.
    fn work(&mut self, agent: &Agent) {
        self.writer.run(Duration::from_millis(500));
        wait_for("replication", || agent.metric("streamgauge_replica_txid", &[]).is_some_and(|txid| txid >= 3.0));
        wait_for("no lag", || lag(agent).is_some_and(|seconds| seconds < 5.0));
    }

    /// Litestream is stopped while commits go on.
    fn stop_litestream(&mut self) {
        self.litestream.take().unwrap().process.stop();
        self.writer.run(Duration::from_millis(500));
    }

    /// Litestream is back, and has nothing left to do, so that no moved clock makes a commit on its way look old.
    fn start_litestream(&mut self, agent: &Agent) {
        self.writer.pause();
        self.replicate();
        settle(agent);
    }

    /// One Alertmanager that pages the site's webhook.
    fn alertmanager(&self, version: &str) -> Alertmanager {
        let yaml = webhook_yaml(&self.hook.url("/page"));
        let alertmanager = self.lab.alertmanager(version, self.home.path(), &yaml, &[]);
        alertmanager.wait_until_ready();
        alertmanager
    }

    /// A Prometheus that scrapes the agent and evaluates the generated rules, in which only the holds are shorter.
    fn prometheus(&self, version: &str, agent: &Agent, alertmanager: &Alertmanager) -> Prometheus {
        let rules = printed(command(env!("CARGO_BIN_EXE_streamgauge")).arg("rules").output().unwrap()).unwrap();
        let shorter = |line: &str| match line.trim_start().split_once(": ") {
            Some((key @ ("for" | "keep_firing_for"), _)) => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{key}: 3s\n", " ".repeat(indent))
            }
            _ => format!("{line}\n"),
        };
        let file = self.path(&format!("{version}.rules.yml"));
        let shortened: String = rules.lines().map(shorter).collect();
        assert_ne!(shortened, rules);
        fs::write(&file, shortened).unwrap();
        let yaml = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{file:?}]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{}\"]}}]}}]}}\n\
             scrape_configs:\n  - job_name: streamgauge\n    static_configs: [{{targets: [\"{}\"], labels: {{instance: shop-host}}}}]\n",
            alertmanager.address, agent.address
        );
        let quick = ["--rules.alert.resend-delay=1s", "--web.external-url=http://prometheus.example/"];
        self.lab.prometheus_with(version, self.home.path(), &yaml, &quick)
    }

    /// Notifications about the check that came so far with this status: each is one time that somebody is told.
    fn pages(&self, status: &str) -> Vec<Value> {
        let pages = self.hook.requests().into_iter().filter(|request| request.path == "/page");
        let pages = pages.map(|request| request.json());
        pages.filter(|page| page["status"] == status && page["alerts"][0]["labels"]["alertname"] == CHECK).collect()
    }

    /// How often the agent's own webhook was told that the check's alert is in this state.
    fn told(&self, status: &str) -> usize {
        let told = self.hook.requests().into_iter().filter(|request| request.path == "/own");
        let is = |alert: &Value| alert["labels"]["alertname"] == CHECK && alert["status"] == status;
        told.filter(|request| request.json()["alerts"].as_array().unwrap().iter().any(is)).count()
    }

    /// The one alert of the one page that came.
    fn page(&self) -> Value {
        wait_for("the page", || !self.pages("firing").is_empty());
        self.pages("firing")[0]["alerts"][0].clone()
    }
}

/// When a report was made, by the agent's clock.
fn now(report: &Value) -> Timestamp {
    report["generated_at"].as_str().unwrap().parse().unwrap()
}

fn lag(agent: &Agent) -> Option<f64> {
    agent.metric("streamgauge_replica_lag_seconds", &[("database", "shop")])
}

/// Waits until the agent has seen all commits, and found them in the replica.
fn settle(agent: &Agent) {
    let began = now(&agent.report());
    wait_for("all commits to be in the replica", || {
        // Later than its next look at the database.
        now(&agent.report()).duration_since(began) > SignedDuration::from_secs(3) && lag(agent) == Some(0.0)
    });
}

/// What the agent itself makes of the check; `Null` when there is no alert.
fn alert(agent: &Agent) -> Value {
    let report = agent.report();
    let alerts = report["alerts"].as_array().unwrap();
    alerts.iter().find(|alert| alert["labels"]["alertname"] == CHECK).cloned().unwrap_or_default()
}

/// Moves the clock, one evaluation at a time, until it has happened.
#[track_caller]
fn pass_until(what: &str, clock: &mut LabClock, at_most: Duration, mut happened: impl FnMut() -> bool) {
    for _ in 0..at_most.as_secs() / EVALUATION.as_secs() {
        if wait(Duration::from_millis(300), &mut happened) {
            return;
        }
        clock.pass(EVALUATION);
    }
    wait_for(what, happened);
}

/// Moves the clock, and waits until the agent has seen it.
fn pass(clock: &mut LabClock, agent: &Agent, time: Duration) {
    let began = now(&agent.report());
    clock.pass(time);
    wait_for("the agent to see time go by, and to look at the database again", || {
        let report = agent.report();
        let passed = |at: Timestamp| at.duration_since(began).unsigned_abs() >= time;
        let collectors = report["agent"]["collectors"].as_array().unwrap();
        let swept = collectors.iter().find(|collector| collector["collector"] == "sweep").unwrap();
        passed(now(&report)) && passed(swept["last_round_at"].as_str().unwrap().parse().unwrap())
    });
}

/// The labels that both engines have to give it.
fn assert_labels(alert: &Value) {
    let expected = serde_json::json!({
        "alertname": CHECK, "severity": "critical", "job": "streamgauge", "instance": "shop-host",
        "database": "shop", "replica": "file",
    });
    assert_eq!(alert["labels"], expected, "{alert}");
    let annotations = &alert["annotations"];
    let says = |annotation: &str, text: &str| annotations[annotation].as_str().unwrap_or_default().contains(text);
    assert!(says("summary", "shop") && says("description", "shop"), "{annotations}");
    assert!(
        annotations["description"].as_str().unwrap().contains(|letter: char| letter.is_ascii_digit()),
        "{annotations}"
    );
    assert!(says("runbook_url", "#replicationlag") && says("action", "Litestream"), "{annotations}");
}

fn prometheus_pages(prometheus: &str, alertmanager: &str) {
    let mut site = Site::new();
    let agent = site.agent(None, "");
    let alertmanager = site.alertmanager(alertmanager);
    let prometheus = site.prometheus(prometheus, &agent, &alertmanager);
    site.work(&agent);
    wait_for("a scrape", || prometheus.value("streamgauge_replica_lag_seconds{database=\"shop\"}").is_some());
    assert_eq!(site.pages("firing"), [Value::Null; 0]);

    site.stop_litestream();
    assert_labels(&site.page());
    assert_eq!(site.pages("resolved"), [Value::Null; 0]);

    site.start_litestream(&agent);
    wait_for("the end", || !site.pages("resolved").is_empty());
    assert_labels(&site.pages("resolved")[0]["alerts"][0]);
    assert_eq!(site.pages("firing").len(), 1);
}

#[test]
fn litestream_stops_and_an_old_prometheus_pages() {
    prometheus_pages(PROMETHEUS[0], ALERTMANAGER[0]);
}

#[test]
fn litestream_stops_and_a_new_prometheus_pages() {
    prometheus_pages(PROMETHEUS[1], ALERTMANAGER[1]);
}

/// The agent's settings for an Alertmanager. It tells again so late that what it told last ends in this machine's future.
fn receiver(alertmanager: &Alertmanager) -> String {
    format!(
        "[alerting]\nlabels = {{ instance = \"shop-host\" }}\n\
         [[receiver]]\nkind = \"alertmanager\"\nurl = [\"http://{}\"]\n\
         group-wait = \"100ms\"\ngroup-interval = \"1s\"\nrepeat-interval = \"30m\"\n",
        alertmanager.address
    )
}

/// The agent's settings for a webhook of its own.
fn webhook(hook: &Recorder) -> String {
    format!(
        "[[receiver]]\nkind = \"webhook\"\nurl = \"{}\"\ngroup-wait = \"100ms\"\ngroup-interval = \"1s\"\n",
        hook.url("/own")
    )
}

fn agent_pages(version: &str) {
    let mut site = Site::new();
    let mut clock = LabClock::new(site.home.path(), BEHIND);
    let alertmanager = site.alertmanager(version);
    let agent = site.agent(Some(&clock), &receiver(&alertmanager));
    site.work(&agent);

    site.stop_litestream();
    wait_for("the lag", || lag(&agent).is_some_and(|seconds| seconds > 5.0));
    pass_until("the alert to be pending", &mut clock, EVALUATION * 2, || alert(&agent)["state"] == "pending");
    assert_eq!(alertmanager.alerts(), [Value::Null; 0]);
    pass_until("the alert to fire", &mut clock, EVALUATION * 5, || alert(&agent)["state"] == "firing");
    assert_labels(&site.page());

    site.start_litestream(&agent);
    pass_until("the end", &mut clock, EVALUATION * 24, || !site.pages("resolved").is_empty());
    assert_labels(&site.pages("resolved")[0]["alerts"][0]);
    assert_eq!(site.pages("firing").len(), 1);
    // The log has each once, however often they were evaluated.
    let lines = |words: &str| agent.process.log_lines(words);
    assert_eq!(lines("\"alert firing\" alert=ReplicationLag severity=critical"), 1, "{}", agent.process.log());
    assert_eq!(lines("\"alert resolved\" alert=ReplicationLag severity=critical"), 1, "{}", agent.process.log());
    assert_eq!(lines("message=started version="), 1, "{}", agent.process.log());
}

#[test]
fn litestream_stops_and_the_agent_pages_through_an_old_alertmanager() {
    agent_pages(ALERTMANAGER[0]);
}

#[test]
fn litestream_stops_and_the_agent_pages_through_a_new_alertmanager() {
    agent_pages(ALERTMANAGER[1]);
}

/// How many firing alerts Alertmanager was told of, the same one as often as it was told.
fn received(alertmanager: &Alertmanager) -> f64 {
    let metrics = http::get(&alertmanager.address, "/metrics", &[]).unwrap().text();
    let counters = metrics.lines().filter(|line| line.starts_with("alertmanager_alerts_received_total{"));
    let firing = counters.filter(|line| line.contains("status=\"firing\""));
    firing.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn prometheus_and_the_agent_page_once() {
    let mut site = Site::new();
    let mut clock = LabClock::new(site.home.path(), BEHIND);
    let alertmanager = site.alertmanager(ALERTMANAGER[1]);
    let agent = site.agent(Some(&clock), &receiver(&alertmanager));
    let _prometheus = site.prometheus(PROMETHEUS[1], &agent, &alertmanager);
    site.work(&agent);

    site.stop_litestream();
    site.page();
    pass_until("the agent's alert to fire", &mut clock, EVALUATION * 7, || alert(&agent)["state"] == "firing");
    let told = || agent.metric("streamgauge_notifications_total", &[("receiver", "alertmanager")]);
    wait_for("the agent to tell Alertmanager", || told().is_some_and(|told| told >= 1.0));
    // Prometheus tells each second what fires, and the agent not again for half an hour: after a few more of them nothing
    // is on its way any more.
    let before = received(&alertmanager);
    wait_for("Prometheus to tell it again", || received(&alertmanager) >= before + 3.0);
    let listed: Vec<Value> =
        alertmanager.alerts().into_iter().filter(|alert| alert["labels"]["alertname"] == CHECK).collect();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_labels(&listed[0]);
    assert_eq!(site.pages("firing").len(), 1);
    assert_eq!(site.pages("resolved"), [Value::Null; 0]);

    site.start_litestream(&agent);
    pass_until("the agent's alert to end", &mut clock, EVALUATION * 24, || alert(&agent)["state"] == "resolved");
    wait_for("the agent to tell Alertmanager", || told().is_some_and(|told| told >= 2.0));
    wait_for("the end", || !site.pages("resolved").is_empty());
    wait_for("Alertmanager to list it no more", || {
        alertmanager.alerts().iter().all(|alert| alert["labels"]["alertname"] != CHECK)
    });
    assert_eq!((site.pages("firing").len(), site.pages("resolved").len()), (1, 1));
}

/// The agent is killed, as `kill -9` does.
fn kill(mut agent: Agent) {
    agent.process.signal(rustix::process::Signal::KILL);
    assert!(agent.process.ended(Duration::from_secs(60)).is_some());
}

#[test]
fn an_agent_that_is_killed_goes_on_where_it_was() {
    let mut site = Site::new();
    let mut clock = LabClock::new(site.home.path(), BEHIND);
    let alertmanager = site.alertmanager(ALERTMANAGER[1]);
    let settings = receiver(&alertmanager) + &webhook(&site.hook);
    let agent = site.agent(Some(&clock), &settings);
    site.work(&agent);

    // Pending: the hold goes on.
    site.stop_litestream();
    wait_for("the lag", || lag(&agent).is_some_and(|seconds| seconds > 5.0));
    pass_until("the alert to be pending", &mut clock, EVALUATION * 2, || alert(&agent)["state"] == "pending");
    let pending = alert(&agent);
    pass(&mut clock, &agent, EVALUATION);
    pass(&mut clock, &agent, EVALUATION);
    assert_eq!(alert(&agent)["state"], "pending");
    kill(agent);
    let agent = site.agent(Some(&clock), &settings);
    assert_eq!((&alert(&agent)["state"], &alert(&agent)["active_at"]), (&"pending".into(), &pending["active_at"]));
    assert_eq!(site.pages("firing"), [Value::Null; 0]);
    // A hold that began anew would need one more.
    pass_until("the alert to fire", &mut clock, EVALUATION * 3, || alert(&agent)["state"] == "firing");
    let fired = alert(&agent);
    assert_eq!(fired["active_at"], pending["active_at"]);
    assert_labels(&site.page());
    wait_for("the agent's own webhook", || site.told("firing") == 1);

    // Firing: nobody is paged again.
    pass(&mut clock, &agent, EVALUATION);
    kill(agent);
    let agent = site.agent(Some(&clock), &settings);
    pass(&mut clock, &agent, EVALUATION);
    pass(&mut clock, &agent, EVALUATION);
    assert_eq!((&alert(&agent)["state"], &alert(&agent)["fired_at"]), (&"firing".into(), &fired["fired_at"]));
    assert_eq!((site.pages("firing").len(), site.told("firing")), (1, 1));
    assert_eq!((site.pages("resolved").len(), site.told("resolved")), (0, 0));

    // Over while it was down: everybody is told of the end, once.
    kill(agent);
    site.writer.pause();
    site.replicate();
    let agent = site.agent(Some(&clock), &settings);
    settle(&agent);
    assert_eq!(alert(&agent)["state"], "firing", "it is kept for a while");
    pass_until("the end", &mut clock, EVALUATION * 23, || {
        !site.pages("resolved").is_empty() && site.told("resolved") > 0
    });
    assert_labels(&site.pages("resolved")[0]["alerts"][0]);
    pass(&mut clock, &agent, EVALUATION);
    assert_eq!((site.pages("firing").len(), site.told("firing")), (1, 1));
    assert_eq!((site.pages("resolved").len(), site.told("resolved")), (1, 1));
}

#[test]
fn an_idle_hour_raises_nothing() {
    let mut site = Site::new();
    site.writer.commit(20);
    wait_for("replication", || site.path("replica/ltx/0").is_dir());
    let mut clock = LabClock::new(site.home.path(), 0);
    let agent = site.agent(Some(&clock), &webhook(&site.hook));
    wait_for("all commits to be in the replica", || lag(&agent) == Some(0.0));
    // The disk is the one of whoever runs the test, and may be full.
    let ours = |alert: &&Value| !alert["labels"]["alertname"].as_str().unwrap().starts_with("Disk");
    for minute in 1..=60 {
        pass(&mut clock, &agent, Duration::from_secs(60));
        let report = agent.report();
        assert_eq!(report["alerts"].as_array().unwrap().iter().find(ours), None, "after {minute} minutes");
    }
    let told: Vec<Value> = site.hook.requests().iter().map(|request| request.json()).collect();
    assert_eq!(told.iter().flat_map(|told| told["alerts"].as_array().unwrap()).find(ours), None);
}
