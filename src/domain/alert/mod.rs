//! An alert: a rule of a check that held for long enough, of one subject.
//!
//! [`AlertBook`](book::AlertBook) makes them of reports, as Prometheus makes them of the same rules.

pub mod book;
pub mod inhibition;
mod saved;
mod text;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::verdict::Severity;

/// Stands in a description between what the check says of every such alert and what was seen.
const SEEN: &str = " Seen: ";

/// An alert as Prometheus makes one of the same rule, with the same labels, so that Alertmanager treats both as one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alert {
    /// `alertname`, `severity`, the labels of the subject, and those that the configuration adds. They identify it.
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `action`, `runbook_url` and, where configured, `dashboard_url`; `ended` where it is over
    /// because its subject is no longer watched, or because what it is about is no longer known.
    pub annotations: BTreeMap<String, String>,
    /// How bad it is that the check fails.
    pub severity: Severity,
    /// Whether it fires.
    pub state: AlertState,
    /// When the rule of the check began to hold.
    pub active_at: Timestamp,
    /// When the rule had held for long enough; `None` while the alert is pending.
    pub fired_at: Option<Timestamp>,
    /// When it was first known that the rule does not hold any more; `None` while it holds, or may hold. The alert is kept for
    /// a while from then on, for it may hold again.
    pub ended_at: Option<Timestamp>,
    /// When the alert was over, for it was not kept any longer; `None` before.
    pub resolved_at: Option<Timestamp>,
    /// The number that the rule compares, when it last held.
    pub value: f64,
    /// Nobody is told, for this reason: a silence of the configuration, or a worse alert of the same check and subject.
    pub suppressed: Option<String>,
}

/// That nobody is told of an alert, and why, of one that is over with what was so when it was.
pub fn untold(is_over: bool, why: &str) -> String {
    match why.strip_suffix(FIRES).filter(|_| is_over) {
        Some(source) => format!("nobody was notified, as {source} was firing then"),
        None if is_over => format!("nobody was notified: {why}"),
        None => format!("nobody is notified: {why}"),
    }
}

/// How a reason ends for which nobody is told because of another alert.
pub(super) const FIRES: &str = " is firing";

words! {
    /// Whether an alert fires. The order is that of a list of alerts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum AlertState {
        /// The rule has held for long enough.
        Firing = "firing",
        /// The rule holds, not yet for long enough.
        Pending = "pending",
        /// It fired, and does no longer, or its subject is no longer watched or known.
        Resolved = "resolved",
    }
}

impl Alert {
    /// The annotation that says how it ended, where that is not known to be well.
    pub const ENDED: &str = "ended";

    /// How an alert ended whose subject nobody looks at any more.
    pub const UNWATCHED: &str = "no longer watched";
    const UNKNOWN: &str = "no longer known";

    /// Notes that it is over because nobody looks at its subject any more.
    pub(super) fn end_unwatched(&mut self) {
        self.end_as(Self::UNWATCHED.to_owned());
    }

    /// Notes that it is over because what it is about is not known any more, for this reason.
    pub(super) fn end_unknown(&mut self, reason: &str) {
        self.end_as(format!("{}: {reason}", Self::UNKNOWN));
    }

    pub(super) fn end_as(&mut self, ending: String) {
        self.annotations.insert(Self::ENDED.to_owned(), ending);
    }

    /// How it ended, once it is over: `resolved`, unless it may be as bad as it was.
    pub fn ending(&self) -> &'static str {
        match self.annotations.get(Self::ENDED).map(String::as_str) {
            None => AlertState::Resolved.as_str(),
            Some(Self::UNWATCHED) => Self::UNWATCHED,
            Some(_) => Self::UNKNOWN,
        }
    }

    /// It is over, and nothing speaks against its being well.
    pub fn is_resolved(&self) -> bool {
        self.state == AlertState::Resolved && !self.annotations.contains_key(Self::ENDED)
    }

    /// It is over because nobody looks at its subject any more, which may be as bad as it was.
    pub fn is_unwatched(&self) -> bool {
        self.state == AlertState::Resolved && self.ending() == Self::UNWATCHED
    }

    /// It fires, and its rule holds still.
    pub fn holds(&self) -> bool {
        self.state == AlertState::Firing && self.ended_at.is_none()
    }

    /// When it was over, where it is known to be.
    pub fn until(&self) -> Option<Timestamp> {
        self.ended_at.or_else(|| self.resolved_at.filter(|_| self.ending() != Self::UNKNOWN))
    }

    /// What was seen when it last held, without what the check says of every such alert.
    pub fn evidence(&self) -> Option<&str> {
        let description = self.annotations.get("description")?;
        Some(description.split_once(SEEN).map_or(description.as_str(), |(_, seen)| seen.trim_end_matches('.')))
    }

    /// The check's name.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }
}
