//! The state of alerts that survives a restart.
//!
//! Instants are saved with their age: what the wall clock said before it was stepped does not matter, only what it did
//! while the agent was down.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::book::{AlertBook, Key, Tracked};
use super::text::{annotations, labels};
use super::{Alert, AlertState};
use crate::domain::alerting::Alerting;
use crate::domain::limits::ALERTS_MAX;
use crate::domain::moment::Moment;

#[derive(Serialize, Deserialize)]
struct Saved {
    at: Timestamp,
    alerts: Vec<SavedAlert>,
}

#[derive(Serialize, Deserialize)]
struct SavedAlert {
    check: String,
    severity: String,
    /// The values of the labels of the check's scope.
    subject: Vec<String>,
    active: Instant,
    fired: Option<Instant>,
    ended: Option<Instant>,
    resolved: Option<Instant>,
    /// `None`: it is not finite.
    value: Option<f64>,
    description: String,
    suppressed: Option<String>,
    #[serde(default)]
    unwatched: bool,
    /// Since it ended, it is not known whether its rule holds.
    #[serde(default)]
    unknown: bool,
    /// How it ended, where that is not known to be well.
    #[serde(default)]
    ending: Option<String>,
}

/// An instant by the wall clock, and how many milliseconds before the saving it was.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Instant(Timestamp, i64);

impl Instant {
    fn of(moment: Moment, now: Moment) -> Self {
        Self(moment.wall(), i64::try_from(now.since(moment).as_millis()).unwrap_or(i64::MAX))
    }

    /// The same in this run, `down` after it was saved.
    fn moment(self, down: SignedDuration, now: Moment) -> Moment {
        let age = SignedDuration::from_millis(self.1.max(0)).saturating_add(down);
        Moment::new(self.0, now.mono().saturating_sub(age))
    }
}

impl AlertBook {
    /// Everything that [`restore`](Self::restore) needs, as JSON.
    pub fn save(&self, now: Moment) -> String {
        let alerts = self.tracked.iter().map(|(key, tracked)| {
            let armed = &self.rules[key.rule];
            let instant = |moment| Instant::of(moment, now);
            let labels = armed.check.scope().labels().len();
            SavedAlert {
                check: armed.check.name.to_owned(),
                severity: armed.rule.severity.as_str().to_owned(),
                subject: key.values.iter().take(labels).cloned().collect(),
                active: instant(tracked.active),
                fired: tracked.fired.map(instant),
                ended: tracked.ended.map(instant),
                resolved: tracked.resolved.map(instant),
                value: Some(tracked.alert.value).filter(|value| value.is_finite()),
                description: tracked.description.clone(),
                suppressed: tracked.alert.suppressed.clone(),
                unwatched: tracked.alert.is_unwatched(),
                unknown: tracked.ended.is_some() && tracked.alert.ended_at.is_none(),
                ending: tracked.alert.annotations.get(Alert::ENDED).cloned(),
            }
        });
        serde_json::to_string(&Saved { at: now.wall(), alerts: alerts.collect() }).unwrap_or_default()
    }

    /// Takes over what an earlier run saved. Alerts of rules that there are no longer are forgotten; a text that is not
    /// understood is empty.
    pub fn restore(&mut self, saved: &str, alerting: &Alerting, now: Moment) {
        let Ok(saved) = serde_json::from_str::<Saved>(saved) else { return };
        let down = now.wall().duration_since(saved.at).max(SignedDuration::ZERO);
        for alert in saved.alerts.into_iter().take(ALERTS_MAX) {
            let same = |check: &str, severity: &str| check == alert.check && severity == alert.severity;
            let place = self.rules.iter().position(|armed| same(armed.check.name, armed.rule.severity.as_str()));
            let Some(rule) = place else { continue };
            let (check, severity) = (self.rules[rule].check, self.rules[rule].rule.severity);
            let mut key = Key { rule, ..Key::default() };
            if alert.subject.len() != check.scope().labels().len() {
                continue;
            }
            key.values.iter_mut().zip(&alert.subject).for_each(|(value, saved)| value.clone_from(saved));
            let moment = |instant: Instant| instant.moment(down, now);
            let [fired, ended, resolved] = [alert.fired, alert.ended, alert.resolved].map(|at| at.map(moment));
            let active = moment(alert.active);
            let state = match (fired, resolved) {
                (_, Some(_)) => AlertState::Resolved,
                (Some(_), None) => AlertState::Firing,
                (None, None) => AlertState::Pending,
            };
            let mut shown = Alert {
                labels: labels(alerting, check, severity, &key.values),
                annotations: annotations(alerting, check, &key.values, alert.description.clone()),
                severity,
                state,
                active_at: active.wall(),
                fired_at: fired.map(|fired| fired.wall()),
                ended_at: ended.map(|ended| ended.wall()).filter(|_| !alert.unknown),
                resolved_at: resolved.map(|resolved| resolved.wall()),
                value: alert.value.unwrap_or(f64::INFINITY),
                suppressed: alert.suppressed,
            };
            match alert.ending {
                Some(ending) => shown.end_as(ending),
                None if alert.unwatched => shown.end_unwatched(),
                None => {}
            }
            let tracked = Tracked {
                held: 0,
                active,
                fired,
                ended,
                resolved,
                asleep_since: None,
                restored: true,
                left: false,
                description: alert.description,
                alert: shown.into(),
            };
            self.tracked.insert(key, tracked);
        }
        self.list();
    }
}
