//! The book against cases, one by one, and against Prometheus' own code.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::alerting::Silence;
use crate::domain::assessment::{CollectorReport, DatabaseReport, DatabaseState, ReplicaReport};
use crate::domain::check::expression::Condition;
use crate::domain::check::{Explanation, Unit};
use crate::domain::number::{Kind, Number, Read, Value};
use crate::domain::profile::Profile;
use crate::domain::verdict::Severity;

const fn number(scope: Scope, of: fn(Subject<'_>) -> Option<Value<'static>>) -> Number {
    let (name, help, profile) = ("streamgauge_test", "A test.", Profile::Full);
    Number { name, kind: Kind::Gauge, scope, more: &[], help, read: Read::One(of), profile }
}

/// A number of a replica that a test sets.
static LAG: Number = number(Scope::Replica, |on| on.replica()?.lag_seconds.map(Value::Float));
static UNREADABLE: Number = number(Scope::Replica, |on| on.replica()?.up.map(|up| Value::Int(u64::from(!up))));
static STUCK: Number = number(Scope::Collector, |on| Some(Value::Int(u64::from(!on.collector()?.success))));

const fn rule(severity: Severity, when: Condition, hold: u64, keep_firing: u64) -> Rule {
    Rule { severity, when, hold: Duration::from_secs(hold), keep_firing: Duration::from_secs(keep_firing) }
}

const fn check(name: &'static str, rules: &'static [Rule]) -> Check {
    Check {
        name,
        title: "All is well",
        summary: "{database}: {replica} is bad",
        description: "Replica {replica} of {database} is bad for {value}.",
        action: "Repair {replica}.",
        unit: Unit::Seconds,
        rules,
        explain: |_, on| match on.replica().map(|replica| replica.lag_seconds) {
            Some(None) => Some(Explanation::Unknown("not seen".into())),
            _ => Some(Explanation::Known("as seen".into())),
        },
    }
}

static CHECKS: &[Check] = &[
    check(
        "ReplicaGap",
        &[rule(Severity::Critical, LAG.exceeds(10.0), 60, 300), rule(Severity::Warning, LAG.any(), 60, 300)],
    ),
    check("ReplicaUnverifiable", &[rule(Severity::Critical, UNREADABLE.is(1.0), 0, 0)]),
    check("CollectorFailed", &[rule(Severity::Warning, STUCK.is(1.0), 30, 0)]),
];

/// Both clocks, `seconds` after the agent began at 1 000 000.
fn at(seconds: i64) -> Moment {
    Moment::new(Timestamp::from_second(1_000_000 + seconds).unwrap(), SignedDuration::from_secs(seconds))
}

fn replica(name: &str, lag: Option<f64>) -> ReplicaReport {
    ReplicaReport { name: name.into(), up: Some(true), lag_seconds: lag, ..ReplicaReport::default() }
}

fn database(name: &str, replicas: Vec<ReplicaReport>) -> Arc<DatabaseReport> {
    let state = DatabaseState::Monitored;
    Arc::new(DatabaseReport { name: name.into(), state, rpo_seconds: 300.0, replicas, ..DatabaseReport::default() })
}

fn assessment(databases: Vec<Arc<DatabaseReport>>) -> Assessment {
    Assessment { complete: true, databases, ..Assessment::default() }
}

/// One database with one replica of this lag.
fn lagging(lag: impl Into<Option<f64>>) -> Assessment {
    assessment(vec![database("app", vec![replica("s3", lag.into())])])
}

/// The same, not looked at yet.
fn unseen() -> Assessment {
    let mut replica = replica("s3", None);
    replica.up = None;
    Assessment { complete: false, ..assessment(vec![database("app", vec![replica])]) }
}

fn book() -> AlertBook {
    AlertBook::new(CHECKS.iter())
}

fn told(book: &AlertBook) -> String {
    let one = |alert: &Arc<Alert>| {
        let suppressed = if alert.suppressed.is_some() { " suppressed" } else { "" };
        let over = if alert.state == AlertState::Firing && !alert.holds() { " over" } else { "" };
        format!("{} {} {:?}{over}{suppressed}", alert.name(), alert.severity.as_str(), alert.state)
    };
    book.alerts().iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Evaluates and tells.
fn step(book: &mut AlertBook, assessment: &Assessment, now: Moment, expected: &str) {
    let before = told(book);
    let changed = book.evaluate(assessment, &[], &Alerting::default(), now);
    assert_eq!(told(book), expected, "{now:?}");
    assert_eq!(changed, before != expected, "{now:?}: a change is told as one");
}

const WARNING: &str = "ReplicaGap warning Firing";
const OVER: &str = "ReplicaGap warning Firing over";

#[test]
fn alerts_about_a_place_that_was_left_end_as_no_longer_watched_when_prometheus_ends_them() {
    let mut book = book();
    step(&mut book, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    book.leave("app", "other");
    step(&mut book, &lagging(1.0), at(60), WARNING);
    book.leave("app", "s3");
    // What is there now has not been looked at.
    step(&mut book, &unseen(), at(75), OVER);
    step(&mut book, &lagging(0.0), at(374), OVER);
    step(&mut book, &lagging(0.0), at(375), "ReplicaGap warning Resolved");
    let alert = Arc::clone(&book.alerts()[0]);
    assert_eq!((alert.resolved_at, alert.ending()), (Some(at(375).wall()), "no longer watched"));
    // What holds at the new one as well is the same alert, to Prometheus too, and then it is the new one's.
    step(&mut book, &lagging(1.0), at(390), "ReplicaGap warning Pending");
    book.leave("app", "s3");
    step(&mut book, &lagging(1.0), at(450), WARNING);
    step(&mut book, &lagging(0.0), at(465), OVER);
    step(&mut book, &lagging(0.0), at(765), "ReplicaGap warning Resolved");
    assert_eq!(book.alerts()[0].ending(), "resolved");
}

#[test]
fn holds_then_fires_then_is_kept_then_resolves_then_is_forgotten() {
    let mut book = book();
    step(&mut book, &lagging(0.0), at(0), "");
    step(&mut book, &lagging(1.0), at(15), "ReplicaGap warning Pending");
    step(&mut book, &lagging(2.0), at(74), "ReplicaGap warning Pending");
    step(&mut book, &lagging(2.0), at(75), WARNING);
    let alert = &book.alerts()[0];
    assert_eq!((alert.active_at, alert.fired_at), (at(15).wall(), Some(at(75).wall())));
    step(&mut book, &lagging(None), at(90), WARNING);
    step(&mut book, &lagging(0.0), at(389), OVER);
    step(&mut book, &lagging(0.0), at(390), "ReplicaGap warning Resolved");
    let alert = &book.alerts()[0];
    assert_eq!((alert.resolved_at, alert.until()), (Some(at(390).wall()), Some(at(389).wall())));
    step(&mut book, &lagging(0.0), at(390 + 900), "ReplicaGap warning Resolved");
    step(&mut book, &lagging(0.0), at(390 + 901), "");
}

#[test]
fn what_is_no_longer_known_is_not_well() {
    let mut book = book();
    step(&mut book, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), at(60), WARNING);
    step(&mut book, &lagging(None), at(75), WARNING);
    let (mut later, now) = restart(&book, at(80), 0);
    step(&mut later, &lagging(None), now(294), WARNING);
    step(&mut later, &lagging(None), now(295), "ReplicaGap warning Resolved");
    let alert = &later.alerts()[0];
    assert_eq!((alert.ending(), alert.until()), ("no longer known", None));
    assert_eq!(alert.annotations[Alert::ENDED], "no longer known: not seen");
    let _ = restart(&later, now(300), 0);
    // It comes back within that time, and then it is known to be over.
    step(&mut book, &lagging(1.0), at(90), WARNING);
    step(&mut book, &lagging(None), at(105), WARNING);
    step(&mut book, &lagging(0.0), at(300), OVER);
    step(&mut book, &lagging(0.0), at(405), "ReplicaGap warning Resolved");
    assert_eq!((book.alerts()[0].ending(), book.alerts()[0].until()), ("resolved", Some(at(300).wall())));
}

#[test]
fn what_comes_and_goes_is_one_alert_and_what_comes_back_later_is_another() {
    let mut book = book();
    step(&mut book, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), at(60), WARNING);
    step(&mut book, &lagging(0.0), at(75), OVER);
    step(&mut book, &lagging(1.0), at(300), WARNING);
    step(&mut book, &lagging(0.0), at(375), OVER);
    step(&mut book, &lagging(0.0), at(675), "ReplicaGap warning Resolved");
    step(&mut book, &lagging(1.0), at(700), "ReplicaGap warning Pending");
    assert_eq!(book.alerts()[0].active_at, at(700).wall());
}

#[test]
fn pending_that_ends_begins_anew() {
    let mut book = book();
    step(&mut book, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut book, &lagging(0.0), at(15), "");
    step(&mut book, &lagging(1.0), at(30), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), at(60), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), at(90), WARNING);
}

#[test]
fn the_worse_alert_of_a_check_suppresses_the_other() {
    let mut book = book();
    step(&mut book, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut book, &lagging(11.0), at(60), "ReplicaGap warning Firing, ReplicaGap critical Pending");
    step(&mut book, &lagging(11.0), at(120), "ReplicaGap critical Firing, ReplicaGap warning Firing suppressed");
    assert_eq!(book.alerts()[1].suppressed.as_deref(), Some("ReplicaGap (critical) is firing"));
    step(&mut book, &lagging(1.0), at(135), "ReplicaGap critical Firing over, ReplicaGap warning Firing suppressed");
    step(&mut book, &lagging(1.0), at(435), "ReplicaGap warning Firing, ReplicaGap critical Resolved");
}

#[test]
fn an_alert_suppresses_what_follows_from_it_of_the_same_replica_only() {
    let mut book = book();
    let assessment = |up| {
        let mut bad = replica("s3", Some(11.0));
        bad.up = Some(up);
        assessment(vec![database("app", vec![bad, replica("other", Some(11.0))])])
    };
    book.evaluate(&assessment(true), &[], &Alerting::default(), at(0));
    book.evaluate(&assessment(false), &[], &Alerting::default(), at(60));
    let suppressed: Vec<_> = book.alerts().iter().filter(|alert| alert.suppressed.is_some()).collect();
    let told: Vec<_> = suppressed.iter().map(|alert| (alert.name(), alert.labels["replica"].as_str())).collect();
    assert_eq!(told, [("ReplicaGap", "s3"), ("ReplicaGap", "other"), ("ReplicaGap", "s3")]);
    assert_eq!(suppressed[0].suppressed.as_deref(), Some("ReplicaUnverifiable (critical) is firing"));
    assert_eq!(suppressed[1].severity, Severity::Warning, "only by its own critical one");
}

#[test]
fn silence_suppresses_with_its_reason_until_it_ends() {
    let silence = Silence {
        databases: vec!["a*".into()],
        until: Some(at(100).wall()),
        reason: "moving house".into(),
        ..Silence::default()
    };
    let alerting = Alerting { silences: vec![silence], ..Alerting::default() };
    let mut book = book();
    book.evaluate(&lagging(1.0), &[], &alerting, at(0));
    assert!(book.evaluate(&lagging(1.0), &[], &alerting, at(60)));
    assert_eq!(told(&book), "ReplicaGap warning Firing suppressed");
    assert_eq!(book.alerts()[0].suppressed.as_deref(), Some("silenced: moving house"));
    assert!(!book.evaluate(&lagging(1.0), &[], &alerting, at(75)));
    assert!(book.evaluate(&lagging(1.0), &[], &alerting, at(105)), "it is told now");
    assert_eq!(told(&book), WARNING);
}

#[test]
fn alert_says_what_prometheus_says_and_what_was_seen() {
    let labels = BTreeMap::from([("job".to_owned(), "streamgauge".to_owned())]);
    let alerting = Alerting { labels, dashboard_url: Some("https://grafana/d/1".into()), ..Alerting::default() };
    let mut book = book();
    book.evaluate(&lagging(5.0), &[], &alerting, at(0));
    let alert = &book.alerts()[0];
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(
        alert.labels,
        map(&[
            ("alertname", "ReplicaGap"),
            ("severity", "warning"),
            ("database", "app"),
            ("replica", "s3"),
            ("job", "streamgauge"),
        ])
    );
    assert_eq!(
        alert.annotations,
        map(&[
            ("summary", "app: s3 is bad"),
            ("description", "Replica s3 of app is bad for 5 s. Seen: as seen."),
            ("action", "Repair s3."),
            ("runbook_url", "https://github.com/streamgauge/streamgauge/blob/main/docs/RUNBOOK.md#replicagap"),
            ("dashboard_url", "https://grafana/d/1"),
        ])
    );
    assert!(!book.evaluate(&lagging(7.0), &[], &alerting, at(15)));
    assert_eq!(book.alerts()[0].value, 7.0, "the number follows without being news");
}

#[test]
fn clock_steps_neither_fire_nor_resolve() {
    let mut book = book();
    let stepped = |seconds, step| {
        Moment::new(at(seconds).wall().checked_add(SignedDuration::from_hours(step)).unwrap(), at(seconds).mono())
    };
    step(&mut book, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), stepped(15, 1), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), stepped(45, -1), "ReplicaGap warning Pending");
    step(&mut book, &lagging(1.0), stepped(60, -1), WARNING);
    step(&mut book, &lagging(0.0), stepped(75, -1), OVER);
    step(&mut book, &lagging(0.0), stepped(90, 5), OVER);
    step(&mut book, &lagging(0.0), stepped(375, -2), "ReplicaGap warning Resolved");
    step(&mut book, &lagging(0.0), stepped(390, 9), "ReplicaGap warning Resolved");
}

/// Saves at one moment and goes on at another, in a new run whose clock begins at 0.
fn restart(book: &AlertBook, saved: Moment, down: i64) -> (AlertBook, impl Fn(i64) -> Moment + use<>) {
    let now = move |seconds| {
        let wall = saved.wall().checked_add(SignedDuration::from_secs(down + seconds)).unwrap();
        Moment::new(wall, SignedDuration::from_secs(seconds))
    };
    let mut after = self::book();
    after.restore(&book.save(saved), &Alerting::default(), now(0));
    assert_eq!(
        book.alerts().iter().map(|alert| alert.as_ref().clone()).collect::<Vec<_>>(),
        after.alerts().iter().map(|alert| alert.as_ref().clone()).collect::<Vec<_>>(),
        "everything is as it was"
    );
    (after, now)
}

#[test]
fn hold_goes_on_over_a_restart() {
    let mut before = book();
    step(&mut before, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    let (mut after, now) = restart(&before, at(10), 20);
    step(&mut after, &unseen(), now(0), "ReplicaGap warning Pending");
    step(&mut after, &unseen(), now(60), "ReplicaGap warning Pending");
    step(&mut after, &lagging(1.0), now(61), WARNING);
    assert_eq!(after.alerts()[0].active_at, at(0).wall());
}

#[test]
fn firing_goes_on_over_a_restart_and_resolves_once_known_to_be_over() {
    let mut before = book();
    step(&mut before, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut before, &lagging(1.0), at(60), WARNING);
    let (mut after, now) = restart(&before, at(60), 3600);
    step(&mut after, &unseen(), now(0), WARNING);
    step(&mut after, &unseen(), now(599), WARNING);
    step(&mut after, &lagging(0.0), now(599), OVER);
    step(&mut after, &lagging(0.0), now(600 + 299), "ReplicaGap warning Resolved");
}

#[test]
fn what_is_never_looked_at_is_over_in_the_end() {
    let mut before = book();
    step(&mut before, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut before, &lagging(1.0), at(60), WARNING);
    let (mut after, now) = restart(&before, at(60), 0);
    step(&mut after, &unseen(), now(0), WARNING);
    step(&mut after, &unseen(), now(600), WARNING);
    step(&mut after, &unseen(), now(900), "ReplicaGap warning Resolved");
}

#[test]
fn target_that_is_gone_resolves() {
    let mut before = book();
    step(&mut before, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    step(&mut before, &lagging(1.0), at(60), WARNING);
    let (mut after, now) = restart(&before, at(60), 0);
    step(&mut after, &assessment(Vec::new()), now(0), WARNING);
    step(&mut after, &assessment(Vec::new()), now(300), "ReplicaGap warning Resolved");
}

#[test]
fn wall_clock_that_stepped_before_the_restart_does_not_matter() {
    let mut before = book();
    step(&mut before, &lagging(1.0), at(0), "ReplicaGap warning Pending");
    let stepped = Moment::new(at(36_000).wall(), SignedDuration::from_secs(10));
    let (mut after, now) = restart(&before, stepped, 10);
    step(&mut after, &lagging(1.0), now(39), "ReplicaGap warning Pending");
    step(&mut after, &lagging(1.0), now(40), WARNING);
}

#[test]
fn agents_own_alerts_sleep_only_after_a_restart() {
    let collector = |success| vec![CollectorReport { collector: "replica", success, ..CollectorReport::default() }];
    let with = |mut assessment: Assessment, success| {
        assessment.agent.collectors = collector(success);
        assessment
    };
    let mut book = book();
    step(&mut book, &with(lagging(0.0), false), at(0), "CollectorFailed warning Pending");
    step(&mut book, &with(lagging(0.0), false), at(30), "CollectorFailed warning Firing");
    let (mut after, now) = restart(&book, at(30), 0);
    step(&mut after, &with(unseen(), true), now(0), "CollectorFailed warning Firing");
    step(&mut after, &with(lagging(0.0), true), now(15), "CollectorFailed warning Resolved");
    step(&mut book, &with(unseen(), true), at(45), "CollectorFailed warning Resolved");
}

#[test]
fn the_worst_come_first_when_there_are_too_many() {
    let many = |count: usize, lag: f64| {
        let databases = (0..count).map(|n| database(&format!("db{n:06}"), vec![replica("s3", Some(lag))]));
        assessment(databases.collect())
    };
    let mut book = book();
    let mut count = |assessment: &Assessment, now| {
        book.evaluate(assessment, &[], &Alerting::default(), now);
        let critical = book.alerts().iter().filter(|alert| alert.severity == Severity::Critical).count();
        (critical, book.alerts().len() - critical, book.dropped())
    };
    assert_eq!(count(&many(ALERTS_MAX + 5, 1.0), at(0)), (0, ALERTS_MAX, 5));
    assert_eq!(count(&many(ALERTS_MAX - 1, 11.0), at(15)), (ALERTS_MAX - 1, 1, ALERTS_MAX - 2));
    assert_eq!(count(&many(ALERTS_MAX - 1, 11.0), at(30)), (ALERTS_MAX - 1, 1, ALERTS_MAX - 2));
    assert_eq!(count(&many(ALERTS_MAX + 5, 11.0), at(45)), (ALERTS_MAX, 0, ALERTS_MAX + 10));
    assert_eq!(count(&many(1, 11.0), at(60)), (1, 0, 1), "room is made when an evaluation ends");
    assert_eq!(count(&many(1, 11.0), at(75)), (1, 1, 0));
}

#[test]
fn databases_whose_verdict_turned_are_named() {
    let mut book = book();
    let mut turned = |lag: f64, now| {
        book.evaluate(&lagging(lag), &[], &Alerting::default(), now);
        book.turned().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(turned(0.0, at(0)), "");
    assert_eq!(turned(1.0, at(15)), "app");
    assert_eq!(turned(1.0, at(90)), "");
    assert_eq!(turned(0.0, at(105)), "app");
    assert_eq!(turned(0.0, at(120)), "");
    assert_eq!(turned(1.0, at(135)), "app");
}

#[test]
fn rules_of_a_check_differ_in_severity() {
    let mut seen = HashMap::new();
    for armed in &AlertBook::default().rules {
        let before = seen.insert((armed.check.name, armed.rule.severity), ());
        assert!(
            before.is_none(),
            "{} has two rules of one severity: their alerts have the same labels",
            armed.check.name
        );
        assert!(armed.check.scope().labels().len() <= Key::default().values.len());
    }
}

/// `AlertingRule.Eval` of Prometheus (rules/alerting.go), word by word, for one series.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reference {
    active: Option<ReferenceAlert>,
}

#[derive(Clone, Debug, PartialEq)]
struct ReferenceAlert {
    state: AlertState,
    active_at: i64,
    fired_at: Option<i64>,
    keep_firing_since: Option<i64>,
    resolved_at: Option<i64>,
}

impl Reference {
    fn eval(&mut self, holds: bool, ts: i64, hold: i64, keep_firing_for: i64) {
        if holds && self.active.as_ref().is_none_or(|alert| alert.state == AlertState::Resolved) {
            self.active = Some(ReferenceAlert {
                state: AlertState::Pending,
                active_at: ts,
                fired_at: None,
                keep_firing_since: None,
                resolved_at: None,
            });
        }
        let Some(alert) = &mut self.active else { return };
        if holds {
            alert.keep_firing_since = None;
        } else {
            let mut keep_firing = false;
            if alert.state == AlertState::Firing && keep_firing_for > 0 {
                let since = *alert.keep_firing_since.get_or_insert(ts);
                keep_firing = ts - since < keep_firing_for;
            }
            if alert.state == AlertState::Pending || alert.resolved_at.is_some_and(|at| ts - at > 15 * 60) {
                self.active = None;
                return;
            }
            if alert.state != AlertState::Resolved && !keep_firing {
                alert.state = AlertState::Resolved;
                alert.resolved_at = Some(ts);
            }
            if !keep_firing {
                return;
            }
        }
        if alert.state == AlertState::Pending && ts - alert.active_at >= hold {
            alert.state = AlertState::Firing;
            alert.fired_at = Some(ts);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two replicas whose condition holds or not, evaluated at irregular instants, over restarts.
    #[test]
    fn agrees_with_prometheus(
        steps in proptest::collection::vec(((0..3_u8, 0..3_u8), 1..500_i64, proptest::bool::weighted(0.1)), 1..80),
    ) {
        let mut book = book();
        let mut references: HashMap<(&str, &str), Reference> = HashMap::new();
        let mut seconds = 0;
        for ((one, other), pause, restarted) in steps {
            seconds += pause;
            if restarted {
                let saved = book.save(at(seconds));
                book = self::book();
                book.restore(&saved, &Alerting::default(), at(seconds));
            }
            let lag = |level| Some(f64::from(level) * 6.0);
            let subjects = [("a", one), ("b", other)];
            let replicas = subjects.iter().map(|(name, level)| replica(name, lag(*level))).collect();
            book.evaluate(&assessment(vec![database("app", replicas)]), &[], &Alerting::default(), at(seconds));
            for (name, level) in subjects {
                for (severity, holds) in [("warning", level > 0), ("critical", level > 1)] {
                    let reference = references.entry((name, severity)).or_default();
                    reference.eval(holds, seconds, 60, 300);
                    let ours = book.alerts().iter().find(|alert| {
                        alert.labels["replica"] == name && alert.severity.as_str() == severity
                    });
                    let wall = |seconds: i64| at(seconds).wall();
                    prop_assert_eq!(
                        ours.map(|alert| (alert.state, alert.active_at, alert.fired_at, alert.resolved_at)),
                        reference.active.as_ref().map(|alert| (
                            alert.state,
                            wall(alert.active_at),
                            alert.fired_at.map(wall),
                            alert.resolved_at.map(wall),
                        ))
                    );
                }
            }
        }
    }
}

/// What was judged as it is need not be asked again, but for what time alone turns.
#[test]
fn a_database_of_which_no_rule_held_is_evaluated_for_time_alone() {
    use crate::domain::check::Judge;
    use crate::domain::report::sample::full;

    let assessment = full().assessment;
    let begin = Moment::new(full().generated_at, SignedDuration::ZERO);
    let judged = Judge::new(Watching::Continuously).judge(&assessment, begin.wall()).databases;
    assert!(judged.iter().any(|judgement| judgement.holds()) && judged.iter().any(|judgement| !judgement.holds()));
    let [mut spared, mut all] = [AlertBook::default(), AlertBook::default()];
    let mut seen = Vec::new();
    for hours in [0, 1, 5, 24, 48, 24 * 9, 24 * 40] {
        let now = begin.after(Duration::from_secs(hours * 3600));
        spared.evaluate(&assessment, &judged, &Alerting::default(), now);
        all.evaluate(&assessment, &[], &Alerting::default(), now);
        assert_eq!(told(&spared), told(&all), "after {hours} hours");
        seen.push(all.alerts().len());
    }
    assert!(seen.first() < seen.last(), "time alone has rules hold: {seen:?}");
}
