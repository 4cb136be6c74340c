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
    /// because its subject is no longer watched.
    pub annotations: BTreeMap<String, String>,
    /// How bad it is that the check fails.
    pub severity: Severity,
    /// Whether it fires.
    pub state: AlertState,
    /// When the rule of the check began to hold.
    pub active_at: Timestamp,
    /// When the rule had held for long enough; `None` while the alert is pending.
    pub fired_at: Option<Timestamp>,
    /// When the rule no longer held, and was not kept; `None` before.
    pub resolved_at: Option<Timestamp>,
    /// The number that the rule compares, when it last held.
    pub value: f64,
    /// Nobody is told, for this reason: a silence of the configuration, or a worse alert of the same check and subject.
    pub suppressed: Option<String>,
}

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
        /// It fired, and does no longer, or its subject is no longer watched.
        Resolved = "resolved",
    }
}

impl Alert {
    /// The annotation that says how it ended, where that is not known to be well.
    pub const ENDED: &str = "ended";

    /// Notes that it is over because nobody looks at its subject any more.
    pub(super) fn end_unwatched(&mut self) {
        self.annotations.insert(Self::ENDED.to_owned(), "no longer watched".to_owned());
    }

    /// It is over because nobody looks at its subject any more, which may be as bad as it was.
    pub fn is_unwatched(&self) -> bool {
        self.state == AlertState::Resolved && self.annotations.contains_key(Self::ENDED)
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
