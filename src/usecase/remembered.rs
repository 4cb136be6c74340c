//! What the agent of this host saved, for commands that look by themselves.

use std::sync::Arc;

use super::ports::{EntryKey, EntryKind};
use crate::domain::alert::Alert;
use crate::domain::alert::book::AlertBook;
use crate::domain::alerting::Alerting;
use crate::domain::moment::Moment;
use crate::domain::target::ReplicaLocation;
use crate::domain::verification::{Budget, Ledger, ObjectFinding, VerifyDepth};

/// The objects that an agent found to be damaged in the replica at this place, whatever it is called; `None` where it
/// reads no objects there, or saved nothing.
pub fn remembered_damage(entries: &[(EntryKey, String)], location: &ReplicaLocation) -> Option<Vec<ObjectFinding>> {
    // Each is saved under the replica's name and its place.
    let place = format!(" {}", location.identity());
    let saved = entries.iter().filter(|(entry, _)| entry.kind == EntryKind::Objects);
    let texts = saved.flat_map(|(_, text)| serde_json::from_str::<Vec<(String, String)>>(text).unwrap_or_default());
    let found = texts.filter(|(replica, _)| replica.ends_with(&place)).filter_map(|(_, text)| {
        let mut ledger = Ledger::new(VerifyDepth::Structure, Budget::new(0), false);
        ledger.restore(&text).then(|| ledger.report()).flatten()
    });
    found.map(|report| report.useless().cloned().collect()).reduce(|one: Vec<_>, other| [one, other].concat())
}

/// The alerts on databases and replicas that fire by what an agent saved, and of which somebody is told.
pub fn remembered_alerts(entries: &[(EntryKey, String)], alerting: &Alerting, now: Moment) -> Vec<Arc<Alert>> {
    let mut book = AlertBook::default();
    let saved = entries.iter().find(|(entry, _)| entry.kind == EntryKind::Alerts);
    saved.into_iter().for_each(|(_, text)| book.restore(text, alerting, now));
    let fires = |alert: &&Arc<Alert>| alert.holds() && alert.suppressed.is_none();
    book.alerts().iter().filter(fires).map(Arc::clone).collect()
}
