//! The state of all alerts, moved on by one assessment after the other.
//!
//! The semantics are those of Prometheus' alerting rules (`rules/alerting.go`), so that both engines agree on what fires
//! and when. What Prometheus cannot know is added: after a restart, a target that was not looked at yet is asleep. Nothing
//! is concluded from its silence, for [`ASLEEP_MAX`] at most.
//!
//! Durations are those of the monotonic clock, so that a step of the wall clock neither fires nor resolves anything; the
//! wall clock only bridges a restart.

mod ending;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::inhibition::inhibits;
use super::text::{annotations, description, labels};
use super::{Alert, AlertState, FIRES};
use crate::domain::alerting::Alerting;
use crate::domain::assessment::Assessment;
use crate::domain::check::{Check, Rule, Watching, catalogue};
use crate::domain::limits::ALERTS_MAX;
use crate::domain::moment::{Moment, signed};
use crate::domain::number::{Scope, Subject};
use crate::domain::verdict::Judgement;

/// How long alerts of a target that was not looked at yet stay as they are.
const ASLEEP_MAX: SignedDuration = SignedDuration::from_mins(10);

/// One rule of the catalogue.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) check: &'static Check,
    pub(super) rule: &'static Rule,
    /// The rules whose alerts inhibit its own, and how many labels have to be equal.
    inhibited_by: Vec<(usize, usize)>,
}

/// The rules of one severity.
#[derive(Debug)]
struct Batch {
    /// The place behind its last one.
    end: usize,
    /// The places of those about each kind of subject, and of those of them that follow time.
    scopes: BTreeMap<Scope, [Vec<usize>; 2]>,
}

/// The rule, by its place, and the values of the labels of its scope; those that it does not have are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) rule: usize,
    pub(super) values: [String; 2],
}

/// An alert and what decides what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    /// The evaluation in which its rule last held.
    pub(super) held: u64,
    pub(super) active: Moment,
    pub(super) fired: Option<Moment>,
    /// When its rule was first seen not to hold any more; Prometheus keeps it firing from then on.
    pub(super) ended: Option<Moment>,
    pub(super) resolved: Option<Moment>,
    pub(super) asleep_since: Option<Moment>,
    /// It is of an earlier run, and what it is about was not seen since.
    pub(super) restored: bool,
    /// Its replica is at another place since its rule last held.
    pub(super) left: bool,
    /// The description, with the evidence.
    pub(super) description: String,
    pub(super) alert: Arc<Alert>,
}

impl Tracked {
    /// It is over.
    fn end(&mut self, now: Moment) -> &mut Alert {
        self.resolved = Some(now);
        let alert = Arc::make_mut(&mut self.alert);
        (alert.state, alert.resolved_at) = (AlertState::Resolved, Some(now.wall()));
        alert
    }
}

/// All alerts.
#[derive(Debug)]
pub struct AlertBook {
    /// The worst first, so that they come first everywhere.
    pub(super) rules: Vec<Armed>,
    /// The worst first.
    batches: Vec<Batch>,
    pub(super) tracked: BTreeMap<Key, Tracked>,
    evaluation: u64,
    /// How many alerts there may be for another one of the severity that is being evaluated.
    room: usize,
    /// To look up without allocating.
    scratch: Key,
    turned: BTreeSet<String>,
    dropped: usize,
    changed: bool,
    alerts: Vec<Arc<Alert>>,
}

impl Default for AlertBook {
    fn default() -> Self {
        Self::new(catalogue())
    }
}

impl AlertBook {
    /// An empty book of the rules of some checks. [`default`](Self::default) has all of them.
    pub fn new(checks: impl Iterator<Item = &'static Check>) -> Self {
        let seen_inside = checks.filter(|check| check.scope() != Scope::Outside);
        let mut rules: Vec<_> = seen_inside
            .flat_map(|check| check.rules.iter().map(move |rule| Armed { check, rule, inhibited_by: Vec::new() }))
            .collect();
        rules.sort_by_key(|armed| std::cmp::Reverse(armed.rule.severity));
        let named: Vec<_> = rules.iter().map(|armed| ((armed.check.name, armed.rule.severity), armed.check)).collect();
        for (armed, (target, _)) in rules.iter_mut().zip(&named) {
            let sources = named.iter().enumerate().filter(|(_, (source, _))| inhibits(*source, *target));
            armed.inhibited_by = sources.map(|(place, (_, check))| (place, check.scope().labels().len())).collect();
        }
        let batches = rules.chunk_by(|one, other| one.rule.severity == other.rule.severity).scan(0, |end, batch| {
            let begin = std::mem::replace(end, *end + batch.len());
            let mut scopes: BTreeMap<Scope, [Vec<usize>; 2]> = BTreeMap::new();
            for (place, armed) in (begin..).zip(batch) {
                let [all, timed] = scopes.entry(armed.check.scope()).or_default();
                all.push(place);
                timed.extend(armed.rule.when.follows_time().then_some(place));
            }
            Some(Batch { end: *end, scopes })
        });
        Self {
            batches: batches.collect(),
            rules,
            tracked: BTreeMap::new(),
            evaluation: 0,
            room: ALERTS_MAX,
            scratch: Key::default(),
            turned: BTreeSet::new(),
            dropped: 0,
            changed: false,
            alerts: Vec::new(),
        }
    }

    /// Evaluates every rule on everything. `judged` is what was said of the databases, in their order: where no rule held then,
    /// only time can have one hold now.
    ///
    /// `true` when an alert came, changed its state or labels, went, or is told to others than before: worth saving,
    /// showing and telling. Numbers and texts of alerts that stay as they are change without that.
    pub fn evaluate(
        &mut self,
        assessment: &Assessment,
        judged: &[Judgement],
        alerting: &Alerting,
        now: Moment,
    ) -> bool {
        self.evaluation += 1;
        self.turned.clear();
        (self.dropped, self.changed) = (0, false);
        let batches = std::mem::take(&mut self.batches);
        for batch in &batches {
            // What is less severe yields when the evaluation ends: there are never more than three times as many.
            let less = self.tracked.keys().rev().take_while(|key| key.rule >= batch.end).count();
            self.room = (ALERTS_MAX + less).min(3 * ALERTS_MAX);
            self.evaluate_batch(batch, (assessment, judged), alerting, now);
        }
        self.batches = batches;
        self.end_others(assessment, now);
        self.trim();
        self.suppress(alerting, now);
        self.list();
        self.changed
    }

    /// All alerts: those that fire, the worst first, then those that are pending, then those that were resolved in the
    /// last 15 minutes.
    pub fn alerts(&self) -> &[Arc<Alert>] {
        &self.alerts
    }

    /// How many rules held in the last evaluation beyond [`ALERTS_MAX`].
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The databases of which a rule began or ceased to hold in the last evaluation.
    pub fn turned(&self) -> impl Iterator<Item = &str> {
        self.turned.iter().map(String::as_str)
    }

    /// Notes that a replica is at another place from now on, and is called as before: unless its alerts hold there as well,
    /// they end because the place that they are about is no longer watched. They do so when Prometheus ends them, to which
    /// both places are one: two opinions of one alert would have it go off and on.
    pub fn leave(&mut self, database: &str, replica: &str) {
        let Self { rules, tracked, .. } = self;
        let about = |key: &Key| rules[key.rule].check.scope() == Scope::Replica && key.values == [database, replica];
        tracked.iter_mut().filter(|(key, _)| about(key)).for_each(|(_, tracked)| tracked.left = true);
    }

    fn evaluate_batch(
        &mut self,
        batch: &Batch,
        (assessment, judged): (&Assessment, &[Judgement]),
        alerting: &Alerting,
        now: Moment,
    ) {
        let mut evaluate = |places: &[usize], subject| {
            places.iter().for_each(|place| self.evaluate_rule(*place, subject, alerting, now));
        };
        for (scope, [all, _]) in &batch.scopes {
            if !matches!(scope, Scope::Database | Scope::Replica) {
                scope.subjects(assessment).for_each(|subject| evaluate(all, subject));
            }
        }
        // Each database with its replicas.
        let none = Default::default();
        let [databases, replicas] =
            [Scope::Database, Scope::Replica].map(|scope| batch.scopes.get(&scope).unwrap_or(&none));
        for (place, database) in assessment.databases.iter().enumerate() {
            let timed = usize::from(judged.get(place).is_some_and(|judgement| !judgement.holds()));
            evaluate(&databases[timed], Subject::Database(database));
            Subject::replicas(database).for_each(|subject| evaluate(&replicas[timed], subject));
        }
    }

    fn evaluate_rule(&mut self, place: usize, subject: Subject<'_>, alerting: &Alerting, now: Moment) {
        let Armed { check, rule, .. } = self.rules[place];
        let Some(value) = rule.when.value(subject, now.wall()) else { return };
        self.scratch.rule = place;
        self.scratch.values.iter_mut().for_each(String::clear);
        for (value, label) in self.scratch.values.iter_mut().zip(subject.label_values()) {
            value.push_str(label);
        }
        let known = self.tracked.get(&self.scratch);
        if known.is_none() && self.tracked.len() >= self.room {
            self.dropped += 1;
            self.turn();
            return;
        }
        // What was resolved and holds again is a new alert.
        let before = known.filter(|tracked| tracked.resolved.is_none());
        let (active, mut fired) = before.map_or((now, None), |tracked| (tracked.active, tracked.fired));
        if fired.is_none() && now.since(active) >= signed(rule.hold) {
            fired = Some(now);
        }
        let seen = check.verdict(subject, now.wall(), Watching::Continuously);
        let values = &self.scratch.values;
        let description = description(check, values, value, seen.as_ref().map(|verdict| &*verdict.detail));
        let alert = Alert {
            labels: labels(alerting, check, rule.severity, values),
            annotations: annotations(alerting, check, values, description.clone()),
            severity: rule.severity,
            state: if fired.is_some() { AlertState::Firing } else { AlertState::Pending },
            active_at: active.wall(),
            fired_at: fired.map(|fired| fired.wall()),
            ended_at: None,
            resolved_at: None,
            value,
            suppressed: before.and_then(|tracked| tracked.alert.suppressed.clone()),
        };
        let same = |tracked: &Tracked| {
            let known = &tracked.alert;
            (known.state, known.ended_at, &known.labels) == (alert.state, None, &alert.labels)
        };
        self.changed |= !before.is_some_and(same);
        let turned = before.is_none_or(|tracked| tracked.held + 1 != self.evaluation);
        let tracked = Tracked {
            held: self.evaluation,
            active,
            fired,
            ended: None,
            resolved: None,
            asleep_since: None,
            restored: false,
            left: false,
            description,
            alert: Arc::new(alert),
        };
        match self.tracked.get_mut(&self.scratch) {
            Some(known) => *known = tracked,
            None => drop(self.tracked.insert(self.scratch.clone(), tracked)),
        }
        if turned {
            self.turn();
        }
    }

    /// The verdict on the database that `scratch` names is no longer the same.
    fn turn(&mut self) {
        if matches!(self.rules[self.scratch.rule].check.scope(), Scope::Database | Scope::Replica) {
            self.turned.insert(self.scratch.values[0].clone());
        }
    }

    /// Forgets what there is no room for: the least severe, and of those what does not fire.
    fn trim(&mut self) {
        if self.tracked.len() <= ALERTS_MAX {
            return;
        }
        let rank = |(key, tracked): (&Key, &Tracked)| {
            (std::cmp::Reverse(self.rules[key.rule].rule.severity), tracked.alert.state, key.clone())
        };
        let mut ranked: Vec<_> = self.tracked.iter().map(rank).collect();
        ranked.sort();
        for (.., key) in ranked.drain(ALERTS_MAX..) {
            let forgotten = self.tracked.remove(&key);
            self.dropped += usize::from(forgotten.is_some_and(|tracked| tracked.held == self.evaluation));
        }
        self.changed = true;
    }

    /// Decides of which alerts nobody is told, and why.
    fn suppress(&mut self, alerting: &Alerting, now: Moment) {
        let silences: Vec<_> = alerting.silences.iter().filter(|silence| silence.holds(now.wall())).collect();
        let reason = |key: &Key| {
            let Armed { check, inhibited_by, .. } = &self.rules[key.rule];
            let database = check.scope().labels().contains(&"database").then_some(key.values[0].as_str());
            let silence = silences.iter().find(|silence| silence.covers(check.name, database));
            silence.map(|silence| format!("silenced: {}", silence.reason)).or_else(|| {
                let source = inhibited_by.iter().find(|(rule, labels)| self.fires(*rule, *labels, key))?;
                let Armed { check, rule, .. } = &self.rules[source.0];
                Some(format!("{} ({}){FIRES}", check.name, rule.severity.as_str()))
            })
        };
        // What is over keeps what was so when it was.
        let keep = |tracked: &Tracked| tracked.resolved.is_some();
        let reasons: Vec<_> =
            self.tracked.iter().map(|(key, tracked)| if keep(tracked) { None } else { reason(key) }).collect();
        for (tracked, reason) in self.tracked.values_mut().zip(reasons) {
            if tracked.alert.suppressed != reason && !keep(tracked) {
                Arc::make_mut(&mut tracked.alert).suppressed = reason;
                self.changed = true;
            }
        }
    }

    /// Whether the rule fires for the subject that shares the first `labels` labels with `key`.
    fn fires(&self, rule: usize, labels: usize, key: &Key) -> bool {
        let mut source = Key { rule, ..Key::default() };
        for (value, of) in source.values.iter_mut().zip(&key.values).take(labels) {
            value.clone_from(of);
        }
        self.tracked.get(&source).is_some_and(|tracked| tracked.alert.state == AlertState::Firing)
    }

    /// Puts the alerts in their order.
    pub(super) fn list(&mut self) {
        self.alerts = self.tracked.values().map(|tracked| Arc::clone(&tracked.alert)).collect();
        // Stable: within a state they stay in the order of the rules, the worst first, and then of their subjects.
        self.alerts.sort_by_key(|alert| alert.state);
    }
}

#[cfg(test)]
mod tests;
