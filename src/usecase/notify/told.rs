//! The alerts that one receiver was told of, and the message that is due next. No IO and no clock: `now` is an
//! argument.
//!
//! There is no queue. The newest board is compared with what the receiver was told, so that what fires is told however
//! long the receiver was away, what ended meanwhile is told as over, and what came and went meanwhile is not told at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Alert, AlertState};
use crate::domain::alerting::{ReceiverKind, ReceiverTarget};
use crate::domain::limits::{RECEIVER_BACKOFF_MAX, RESOLVED_RETENTION};
use crate::domain::moment::{Moment, signed};
use crate::domain::verdict::Severity;
use crate::usecase::ports::AlertBoard;

/// The labels that identify an alert.
type Labels = BTreeMap<String, String>;

/// How a receiver wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One message for all that is new.
    Group,
    /// One message for each alert.
    Each,
    /// Everything, again and again: it keeps the state itself.
    Mirror,
}

impl Style {
    pub(super) fn of(kind: &ReceiverKind) -> Self {
        match kind {
            ReceiverKind::Alertmanager { .. } => Self::Mirror,
            ReceiverKind::PagerDuty { .. } => Self::Each,
            ReceiverKind::Webhook { .. }
            | ReceiverKind::Slack { .. }
            | ReceiverKind::Smtp(_)
            | ReceiverKind::Ntfy { .. } => Self::Group,
        }
    }
}

/// An alert that the receiver knows of.
#[derive(Clone, Debug)]
struct Known {
    alert: Arc<Alert>,
    /// When it was last told that it fires.
    told: Moment,
    /// When it was first and last told that it is over: only where that is repeated.
    over: Option<(Moment, Moment)>,
}

/// The next message that is due.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    pub(super) firing: Vec<Arc<Alert>>,
    pub(super) resolved: Vec<Arc<Alert>>,
    pub(super) repeated: bool,
    pub(super) firing_total: usize,
}

#[derive(Debug)]
pub(super) enum Next {
    Send(Due),
    /// Nothing until then, or until the board changes.
    Wait(SignedDuration),
}

/// What no longer fires of what a receiver knows.
struct Ended {
    /// To be told that it is over.
    over: Vec<Arc<Alert>>,
    /// To be told that again.
    again: Vec<Arc<Alert>>,
    /// Not to be told any more.
    forgotten: Vec<Labels>,
    /// How long until something is to be told again.
    wait: SignedDuration,
}

/// An alert that the receiver refused, although it takes others.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    attempts: u32,
    /// Not before this instant of the monotonic clock.
    retry_at: SignedDuration,
}

/// The longest wait: whatever is forgotten here is looked at once an hour.
const WAIT_MAX: SignedDuration = SignedDuration::from_secs(3600);

/// One receiver's knowledge.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: BTreeMap<Labels, Known>,
    /// Since when there is something to be said.
    waiting_since: Option<Moment>,
    last_message: Option<Moment>,
    attempts: u32,
    /// Not before this instant of the monotonic clock.
    retry_at: Option<SignedDuration>,
    refused: BTreeMap<Labels, Refused>,
    /// Alerts of which it does not know yet what is true.
    pub(super) waiting: usize,
    /// Different from what was saved.
    pub(super) unsaved: bool,
}

impl Told {
    /// The next message to the receiver about this board.
    pub(super) fn next(&mut self, board: &AlertBoard, target: &ReceiverTarget, style: Style, now: Moment) -> Next {
        let repeat = signed(target.repeat_interval);
        let board_by_labels = by_labels(board);
        let fires = |alert: &&Arc<Alert>| {
            alert.state == AlertState::Firing && alert.suppressed.is_none() && alert.severity >= target.severity
        };
        let firing: Vec<&Arc<Alert>> = board_by_labels.values().copied().filter(fires).collect();
        let ended = self.ended(&board_by_labels, board, target, now);
        let told = |alert: &Alert| Some(self.known.get(&alert.labels).filter(|known| known.over.is_none())?.told);
        // People are not told first of what is over by then; another Alertmanager decides that for itself.
        let is_news = |alert: &Alert| told(alert).is_none() && (alert.holds() || style == Style::Mirror);
        let new = firing.iter().filter(|alert| is_news(alert));
        let mut due = Due { firing: cloned(new), resolved: ended.over, repeated: false, firing_total: firing.len() };
        let waiting = due.firing.len() + due.resolved.len();
        let stale = |alert: &&&Arc<Alert>| told(alert).is_some_and(|told| now.since(told) >= repeat);
        let repeats = firing.iter().any(|alert| stale(&alert)) || !ended.again.is_empty();
        let rests = firing.iter().filter_map(|alert| Some(repeat - now.since(told(alert)?)));
        let wait = rests.filter(|_| !repeats).fold(ended.wait, SignedDuration::min);
        match style {
            Style::Mirror => {
                due.firing.extend(cloned(firing.iter().filter(stale)));
                due.resolved.extend(ended.again);
            }
            Style::Group | Style::Each if repeats => {
                due.firing = cloned(firing.iter());
                due.repeated = waiting == 0;
            }
            Style::Group | Style::Each => {}
        }
        self.waiting = waiting;
        for labels in ended.forgotten {
            self.unsaved |= self.known.remove(&labels).is_some_and(|known| known.over.is_none());
        }
        if waiting == 0 && !repeats {
            self.waiting_since = None;
            return Next::Wait(wait.max(SignedDuration::ZERO));
        }
        let pause = self.pause(waiting > 0, target, style, now);
        if pause > SignedDuration::ZERO {
            return Next::Wait(pause);
        }
        if let Some(retry) = self.hold_back(&mut due, now) {
            return Next::Wait(retry.min(wait).max(SignedDuration::ZERO));
        }
        due.firing.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.labels.cmp(&other.labels)));
        Next::Send(due)
    }

    /// Takes out what the receiver refused and is not to be tried again yet; how long until it is, where nothing is left.
    fn hold_back(&mut self, due: &mut Due, now: Moment) -> Option<SignedDuration> {
        if self.takes_all() {
            return None;
        }
        let all: BTreeSet<&Labels> = due.firing.iter().chain(&due.resolved).map(|alert| &alert.labels).collect();
        self.refused.retain(|labels, _| all.contains(labels));
        let rests = |alert: &Alert| Some(self.refused.get(&alert.labels)?.retry_at - now.mono());
        let held = |alert: &Alert| rests(alert).filter(|rest| rest.is_positive());
        let wait = due.firing.iter().chain(&due.resolved).filter_map(|alert| held(alert)).min();
        due.firing.retain(|alert| held(alert).is_none());
        due.resolved.retain(|alert| held(alert).is_none());
        wait.filter(|_| due.firing.is_empty() && due.resolved.is_empty())
    }

    /// What no longer fires of what is known.
    fn ended(
        &self,
        board_by_labels: &HashMap<&Labels, &Arc<Alert>>,
        board: &AlertBoard,
        target: &ReceiverTarget,
        now: Moment,
    ) -> Ended {
        let repeat = signed(target.repeat_interval);
        let mut ended = Ended { over: Vec::new(), again: Vec::new(), forgotten: Vec::new(), wait: WAIT_MAX };
        for (labels, known) in &self.known {
            let there = board_by_labels.get(labels);
            let fires = there.is_some_and(|alert| alert.state == AlertState::Firing);
            match known.over {
                Some(_) if fires => {}
                Some((first, _)) if now.since(first) >= signed(RESOLVED_RETENTION) => {
                    ended.forgotten.push(labels.clone());
                }
                Some((_, last)) if now.since(last) >= repeat => ended.again.push(resolved(known, there, board.at)),
                Some((_, last)) => ended.wait = ended.wait.min(repeat - now.since(last)),
                // What is not on the board is over only if everything was looked at.
                None if !fires && (there.is_some() || board.complete) => match target.resolved {
                    true => ended.over.push(resolved(known, there, board.at)),
                    false => ended.forgotten.push(labels.clone()),
                },
                None => {}
            }
        }
        ended
    }

    /// How long what is to be said is held back. Nothing holds back what a receiver that keeps the state itself is told,
    /// but a failure.
    fn pause(&mut self, news: bool, target: &ReceiverTarget, style: Style, now: Moment) -> SignedDuration {
        let since = *self.waiting_since.get_or_insert(now);
        let retry = self.retry_at.map(|at| at - now.mono());
        let others = style != Style::Mirror;
        let group = (others && news).then(|| signed(target.group_wait) - now.since(since));
        let last = self.last_message.filter(|_| others);
        let interval = last.map(|last| signed(target.group_interval) - now.since(last));
        [retry, group, interval].into_iter().flatten().fold(SignedDuration::ZERO, SignedDuration::max)
    }

    /// A message arrived.
    pub(super) fn record(&mut self, firing: &[Arc<Alert>], resolved: &[Arc<Alert>], style: Style, now: Moment) {
        for alert in firing {
            self.refused.remove(&alert.labels);
            let known = Known { alert: Arc::clone(alert), told: now, over: None };
            let before = self.known.insert(alert.labels.clone(), known);
            self.unsaved |= style != Style::Mirror || before.is_none_or(|known| known.over.is_some());
        }
        for alert in resolved {
            self.refused.remove(&alert.labels);
            match style {
                Style::Mirror => {
                    let Some(known) = self.known.get_mut(&alert.labels) else { continue };
                    self.unsaved |= known.over.is_none();
                    known.over = Some((known.over.map_or(now, |(first, _)| first), now));
                    // Its end is the same each time it is told.
                    known.alert = Arc::clone(alert);
                }
                Style::Group | Style::Each => self.unsaved |= self.known.remove(&alert.labels).is_some(),
            }
        }
        self.waiting = self.waiting.saturating_sub(firing.len() + resolved.len());
        self.last_message = Some(now);
    }

    /// The receiver refused a message about these: it alone is tried again later, as others may arrive.
    pub(super) fn refused(&mut self, alerts: &[Arc<Alert>], chance: f64, now: Moment) {
        for alert in alerts {
            let refused = self.refused.entry(alert.labels.clone()).or_default();
            refused.retry_at = now.mono() + signed(backoff(refused.attempts, chance));
            refused.attempts = refused.attempts.saturating_add(1);
        }
    }

    /// Whether it takes all that it is told.
    pub(super) fn takes_all(&self) -> bool {
        self.refused.is_empty()
    }

    /// Everything that was to be sent arrived, or was refused for what it says.
    pub(super) fn succeeded(&mut self) {
        (self.attempts, self.retry_at, self.waiting_since) = (0, None, None);
    }

    /// Something did not arrive: the next attempt comes after a second, two, four, …, and not before the receiver wants
    /// it; `chance` is from 0 to 1.
    pub(super) fn failed(
        &mut self,
        target: &ReceiverTarget,
        style: Style,
        retry_after: Option<Duration>,
        chance: f64,
        now: Moment,
    ) {
        let wait = backoff(self.attempts, chance);
        // An Alertmanager forgets what is not repeated in time.
        let most = if style == Style::Mirror { target.repeat_interval } else { RECEIVER_BACKOFF_MAX };
        self.retry_at = Some(now.mono() + signed(wait.min(most).max(retry_after.unwrap_or_default())));
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The state to be saved.
    pub(super) fn save(&self, kind: &str) -> SavedReceiver {
        let open = self.known.values().filter(|known| known.over.is_none());
        let alerts = open.map(|known| SavedAlert {
            labels: known.alert.labels.clone(),
            summary: known.alert.annotations.get("summary").cloned().unwrap_or_default(),
            active_at: known.alert.active_at,
            fired_at: known.alert.fired_at,
            told_at: known.told.wall(),
        });
        SavedReceiver { kind: kind.to_owned(), alerts: alerts.collect() }
    }

    /// Adds what an earlier run saved.
    pub(super) fn restore(&mut self, saved: SavedReceiver, now: Moment) {
        for SavedAlert { labels, summary, active_at, fired_at, told_at } in saved.alerts {
            let alert = Alert {
                annotations: BTreeMap::from([("summary".to_owned(), summary)]),
                severity: severity(&labels),
                state: AlertState::Firing,
                active_at,
                fired_at,
                ended_at: None,
                resolved_at: None,
                value: f64::NAN,
                suppressed: None,
                labels: labels.clone(),
            };
            let known = Known { alert: Arc::new(alert), told: now.at_wall(told_at), over: None };
            self.known.entry(labels).or_insert(known);
        }
    }
}

/// How long to wait after so many attempts that failed before: a second, two, four, … up to the bound, less up to half of
/// it by chance, so that agents that lost the same server do not come back at the same instant.
pub(super) fn backoff(attempts: u32, chance: f64) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << attempts.min(16));
    doubled.min(RECEIVER_BACKOFF_MAX).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

/// The alerts of a board by labels; one that fires comes before one that is over.
fn by_labels(board: &AlertBoard) -> HashMap<&Labels, &Arc<Alert>> {
    let mut map: HashMap<&Labels, &Arc<Alert>> = HashMap::with_capacity(board.alerts.len());
    for alert in &board.alerts {
        let entry = map.entry(&alert.labels).or_insert(alert);
        if alert.state == AlertState::Firing {
            *entry = alert;
        }
    }
    map
}

fn resolved(known: &Known, there: Option<&&Arc<Alert>>, at: Timestamp) -> Arc<Alert> {
    match there {
        Some(alert) if alert.state == AlertState::Resolved => Arc::clone(alert),
        _ if known.alert.state == AlertState::Resolved => Arc::clone(&known.alert),
        _ => {
            let alert = Alert::clone(&known.alert);
            Arc::new(Alert { state: AlertState::Resolved, resolved_at: Some(at), ..alert })
        }
    }
}

fn severity(labels: &Labels) -> Severity {
    let word = labels.get("severity");
    let named = Severity::ALL.iter().find(|severity| word.is_some_and(|word| word == severity.as_str()));
    named.copied().unwrap_or(Severity::Warning)
}

fn cloned<'a>(alerts: impl Iterator<Item = &'a &'a Arc<Alert>>) -> Vec<Arc<Alert>> {
    alerts.map(|alert| Arc::clone(alert)).collect()
}

/// The saved form of what one receiver was told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedReceiver {
    /// The word of its kind: another kind under the same name was told nothing.
    pub(super) kind: String,
    alerts: Vec<SavedAlert>,
}

/// An alert that was told and is not over.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedAlert {
    labels: Labels,
    summary: String,
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
    told_at: Timestamp,
}

#[cfg(test)]
mod tests;
