//! The outlet with receivers that fail as they are told, in paused time.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::*;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::alerting::{HttpOptions, ReceiverKind};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;
use crate::domain::verdict::Severity;
use crate::usecase::ports::{AlertMessage, AlertReceiver, DeadmanSwitch};

/// Tokio's time, which stands still unless everything waits.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Moment {
        let mono = SignedDuration::try_from(self.0.elapsed()).unwrap();
        Moment::new(Timestamp::from_second(1_767_225_600).unwrap() + mono, mono)
    }
}

/// Records what was sent to whom, and which places fail.
#[derive(Clone, Default)]
struct Site(Arc<Mutex<Heard>>);

/// The messages sent, and how each place fails.
type Heard = (Vec<String>, HashMap<String, Fate>);

#[derive(Clone, Copy)]
enum Fate {
    Refuse,
    Hang,
    Panic,
}

impl Site {
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    fn fate(&self, place: &str, fate: Option<Fate>) {
        let fates = &mut self.0.lock().unwrap().1;
        fates.remove(place);
        fates.extend(fate.map(|fate| (place.to_owned(), fate)));
    }

    async fn hear(&self, place: &str, text: String) -> Result<(), Reason> {
        let fate = self.0.lock().unwrap().1.get(place).copied();
        match fate {
            None => self.0.lock().unwrap().0.push(format!("{place}: {text}")),
            Some(Fate::Panic) => panic!("told to panic"),
            Some(Fate::Refuse) => return Err(Reason::new(ReasonKind::Failed, "status 500")),
            Some(Fate::Hang) => {
                sleep(Duration::from_secs(10)).await;
                return Err(Reason::new(ReasonKind::Timeout, "no answer in time"));
            }
        }
        Ok(())
    }
}

struct Place(Site, String);

#[async_trait]
impl AlertReceiver for Place {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        let firing = message.firing.iter().map(|alert| alert.name().to_owned());
        let resolved = message.resolved.iter().map(|alert| format!("!{}", alert.name()));
        let mut words: Vec<_> = firing.chain(resolved).collect();
        words.extend((message.omitted > 0).then(|| format!("+{}", message.omitted)));
        self.0.hear(&self.1, words.join(" ")).await
    }
}

#[async_trait]
impl DeadmanSwitch for Place {
    async fn ping(&self, failing: Option<&str>) -> Result<(), Reason> {
        self.0.hear(&self.1, failing.unwrap_or("ok").trim().to_owned()).await
    }
}

impl AlertReceivers for Site {
    fn open(&self, target: &ReceiverTarget) -> Vec<Arc<dyn AlertReceiver>> {
        let place = |name: String| Arc::new(Place(self.clone(), name)) as Arc<dyn AlertReceiver>;
        match &target.kind {
            ReceiverKind::Alertmanager { urls, .. } => urls.iter().map(|url| place(url.expose().to_owned())).collect(),
            _ => vec![place(target.name.clone())],
        }
    }

    fn open_deadman(&self, _: &DeadmanTarget) -> Arc<dyn DeadmanSwitch> {
        Arc::new(Place(self.clone(), "deadman".into()))
    }
}

fn webhook(name: &str) -> ReceiverTarget {
    ReceiverTarget {
        name: name.into(),
        severity: Severity::Warning,
        resolved: true,
        group_wait: Duration::from_secs(10),
        group_interval: Duration::from_secs(60),
        repeat_interval: Duration::from_secs(4 * 3600),
        kind: ReceiverKind::Webhook { url: Secret::new("http://x/"), http: HttpOptions::default() },
    }
}

fn alert(name: &str, state: AlertState) -> Arc<Alert> {
    let at = Timestamp::from_second(1_767_225_600).unwrap();
    Arc::new(Alert {
        labels: BTreeMap::from([("alertname".to_owned(), name.to_owned())]),
        annotations: BTreeMap::from([("summary".to_owned(), format!("{name} is wrong"))]),
        severity: Severity::Critical,
        state,
        active_at: at,
        fired_at: Some(at),
        ended_at: None,
        resolved_at: None,
        value: 1.0,
        suppressed: None,
    })
}

/// An agent that tells a board every 15 seconds.
struct Telling {
    site: Site,
    outlet: Outlet,
}

impl Telling {
    fn new(alerting: &Alerting) -> Self {
        let site = Site::default();
        let outlet = Outlet::new(Arc::new(Paused(Instant::now())), Arc::new(site.clone()));
        outlet.configure(alerting);
        Self { site, outlet }
    }

    fn tell(&self, firing: &str) {
        let alerts = firing.split_whitespace().map(|name| alert(name, AlertState::Firing)).collect();
        self.outlet.tell(AlertBoard { at: Timestamp::UNIX_EPOCH, complete: true, databases: 1, alerts });
    }

    async fn tell_for(&self, seconds: u64, firing: &str) -> Vec<String> {
        for _ in 0..seconds.div_ceil(15) {
            self.tell(firing);
            sleep(Duration::from_secs(15)).await;
        }
        self.site.said()
    }
}

fn alerting(receivers: Vec<ReceiverTarget>) -> Alerting {
    Alerting { receivers, ..Alerting::default() }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_delays_no_other_and_learns_what_is_true_when_it_is_back() {
    let telling = Telling::new(&alerting(vec![webhook("slow"), webhook("quick")]));
    telling.site.fate("slow", Some(Fate::Hang));
    assert_eq!(telling.tell_for(30, "a b").await, ["quick: a b"]);
    assert_eq!(telling.tell_for(90, "a c").await, ["quick: c !b"]);
    let report = telling.outlet.report();
    assert_eq!((report[0].receiver.as_str(), report[0].notifications, report[0].waiting), ("slow", 0, 2));
    assert_eq!((report[1].receiver.as_str(), report[1].notifications, report[1].waiting), ("quick", 2, 0));
    assert!(report[0].failing_since.is_some() && report[0].failures[0].0 == "timeout");
    assert_eq!(report[0].reason.as_ref().unwrap().message, "no answer in time");
    telling.site.fate("slow", None);
    // b came and went.
    assert_eq!(telling.tell_for(400, "a c").await, ["slow: a c"]);
    let report = &telling.outlet.report()[0];
    assert_eq!((report.failing_since, &report.reason, report.waiting), (None, &None, 0));
}

#[tokio::test(start_paused = true)]
async fn each_alertmanager_is_told_whatever_the_other_does() {
    let urls = vec![Secret::new("am1"), Secret::new("am2")];
    let kind = ReceiverKind::Alertmanager { urls, http: HttpOptions::default() };
    let target = ReceiverTarget { repeat_interval: Duration::from_secs(60), kind, ..webhook("am") };
    let telling = Telling::new(&alerting(vec![target]));
    telling.site.fate("am1", Some(Fate::Refuse));
    let said = telling.tell_for(180, "a").await;
    assert_eq!(said, ["am2: a", "am2: a", "am2: a"]);
    let report = telling.outlet.report();
    assert_eq!((report.len(), report[0].waiting, report[0].failing_since.is_some()), (1, 1, true));
    telling.site.fate("am1", None);
    let said = telling.tell_for(180, "a").await;
    assert!(said.iter().filter(|said| *said == "am1: a").count() >= 2, "{said:?}");
    assert_eq!(telling.outlet.report()[0].failing_since, None);
    telling.site.said();
    let mut over = telling.tell_for(15, "").await;
    over.sort();
    assert_eq!(over, ["am1: !a", "am2: !a"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_one_message_that_counts_what_it_does_not_show() {
    let telling = Telling::new(&alerting(vec![webhook("hook")]));
    let names = (0..10_000).map(|number| format!("a{number} ")).collect::<String>();
    let said = telling.tell_for(30, &names).await;
    assert_eq!(said.len(), 1);
    assert!(said[0].ends_with("+9950"), "{}", said[0]);
    assert_eq!(telling.outlet.report()[0].waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_the_last_run_ended() {
    let alerting = alerting(vec![webhook("hook")]);
    let first = Telling::new(&alerting);
    assert_eq!(first.outlet.unsaved(), None);
    assert_eq!(first.tell_for(30, "a b").await, ["hook: a b"]);
    let saved = first.outlet.unsaved().expect("something to save");
    assert_eq!(first.outlet.unsaved(), None);
    drop(first);
    // In either order, as the agent reads its journal before or after its configuration.
    for before in [true, false] {
        let site = Site::default();
        let outlet = Outlet::new(Arc::new(Paused(Instant::now())), Arc::new(site.clone()));
        let second = Telling { site, outlet };
        if before {
            second.outlet.restore(&saved);
        }
        second.outlet.configure(&alerting);
        if !before {
            second.outlet.restore(&saved);
        }
        assert_eq!(second.tell_for(300, "a b").await, Vec::<String>::new());
        assert_eq!(second.tell_for(90, "a").await, ["hook: !b"]);
    }
    let garbage = Telling::new(&alerting);
    garbage.outlet.restore("{");
    assert_eq!(garbage.tell_for(30, "a b").await, ["hook: a b"]);
}

#[tokio::test(start_paused = true)]
async fn new_settings_keep_what_was_told() {
    let telling = Telling::new(&alerting(vec![webhook("hook"), webhook("gone")]));
    assert_eq!(telling.tell_for(30, "a").await.len(), 2);
    telling.outlet.configure(&alerting(vec![ReceiverTarget { group_wait: Duration::from_secs(1), ..webhook("hook") }]));
    assert_eq!(telling.tell_for(300, "a").await, Vec::<String>::new());
    assert_eq!(telling.tell_for(90, "").await, ["hook: !a"]);
    let slack = ReceiverKind::Slack { url: Secret::new("http://x/"), http: HttpOptions::default() };
    telling.tell_for(90, "a").await;
    telling.outlet.configure(&alerting(vec![ReceiverTarget { kind: slack, ..webhook("hook") }]));
    assert_eq!(telling.tell_for(30, "a").await, ["hook: a"], "another kind was told nothing");
}

fn switch() -> Alerting {
    let (interval, http) = (Duration::from_secs(60), HttpOptions::default());
    let deadman = DeadmanTarget { url: Secret::new("http://x/"), interval, severity: Severity::Critical, http };
    Alerting { deadman: Some(deadman), ..Alerting::default() }
}

#[tokio::test(start_paused = true)]
async fn the_dead_mans_switch_says_why_and_is_silent_when_nothing_is_known() {
    let telling = Telling::new(&switch());
    sleep(Duration::from_secs(120)).await;
    assert_eq!(telling.site.said(), Vec::<String>::new(), "nothing was evaluated yet");
    assert_eq!(telling.tell_for(120, "").await, ["deadman: ok", "deadman: ok"]);
    assert_eq!(telling.tell_for(15, "a").await, ["deadman: critical a: a is wrong."]);
    assert_eq!(telling.tell_for(15, "").await, ["deadman: ok"]);
    for (complete, databases) in [(false, 1), (true, 0)] {
        let unseen = AlertBoard { at: Timestamp::UNIX_EPOCH, complete, databases, alerts: Vec::new() };
        for _ in 0..20 {
            telling.outlet.tell(unseen.clone());
            sleep(Duration::from_secs(15)).await;
        }
        assert_eq!(telling.site.said(), Vec::<String>::new(), "{databases} databases, all looked at: {complete}");
    }
    telling.tell_for(60, "").await;
    let report = telling.outlet.report();
    assert_eq!((report[0].receiver.as_str(), report[0].kind), ("deadman", "deadman"));
    // The agent's task is stuck: its last board said that all is well.
    sleep(Duration::from_secs(600)).await;
    assert!(telling.site.said().len() <= 1);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(telling.site.said(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_is_away_is_tried_again() {
    let telling = Telling::new(&switch());
    telling.site.fate("deadman", Some(Fate::Refuse));
    assert_eq!(telling.tell_for(60, "").await, Vec::<String>::new());
    assert!(telling.outlet.report()[0].failures[0].1 >= 3);
    telling.site.fate("deadman", None);
    assert!(!telling.tell_for(60, "").await.is_empty());
    assert_eq!(telling.outlet.report()[0].failing_since, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_something_is_sent_silences_nobody() {
    let telling = Telling::new(&Alerting { receivers: vec![webhook("hook")], ..switch() });
    telling.site.fate("hook", Some(Fate::Panic));
    telling.site.fate("deadman", Some(Fate::Panic));
    assert_eq!(telling.tell_for(60, "a").await, Vec::<String>::new());
    for report in telling.outlet.report() {
        assert_eq!(report.reason.as_ref().unwrap().message, "send: internal error", "{report:?}");
    }
    telling.site.fate("hook", None);
    telling.site.fate("deadman", None);
    let mut said = telling.tell_for(120, "a").await;
    said.sort();
    assert_eq!(said[said.len() - 1], "hook: a");
    assert!(said[0].starts_with("deadman: critical a"), "{said:?}");
}
