//! What the agent of this host saved, for commands that look by themselves.

use std::sync::Arc;

use super::ports::{EntryKey, EntryKind};
use crate::domain::alert::Alert;
use crate::domain::alert::book::AlertBook;
use crate::domain::alerting::Alerting;
use crate::domain::check::catalogue;
use crate::domain::moment::Moment;
use crate::domain::report::Report;
use crate::domain::target::ReplicaLocation;
use crate::domain::verdict::{Status, Verdict};
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

/// Takes in the alerts of an agent that goes on watching the same databases, and so sees what one look cannot: a check
/// of which one fires fails at least as badly. Those on databases that are not in the report are left out.
pub fn heed(report: &mut Report, alerts: Vec<Arc<Alert>>) {
    for alert in alerts {
        let label = |name: &str| alert.labels.get(name).map(String::as_str);
        let place = label("database").and_then(|name| report.assessment.position(name));
        let judgement = place.and_then(|place| report.verdicts.databases.get_mut(place));
        let check = catalogue().find(|check| check.name == alert.name());
        let (Some(judgement), Some(check)) = (judgement, check) else { continue };
        let of_agent = Verdict {
            check: check.name,
            title: check.title,
            severity: alert.severity,
            database: None,
            replica: label("replica").map(Into::into),
            status: Status::Fail,
            detail: format!("{} (the agent of this host)", alert.evidence().unwrap_or_default()).into(),
        };
        let mut verdicts = judgement.to_vec();
        let same = |verdict: &&mut Verdict| (verdict.check, &verdict.replica) == (check.name, &of_agent.replica);
        let of_look = verdicts.iter_mut().find(same);
        let [failing, unknown] = report.verdicts.troubles.entry(check.name).or_default();
        match of_look.as_deref().map(|verdict| verdict.status) {
            Some(Status::Fail) => {}
            Some(Status::Unknown) => (*failing, *unknown) = (*failing + 1, unknown.saturating_sub(1)),
            Some(Status::Pass) | None => *failing += 1,
        }
        match of_look {
            Some(verdict) if verdict.status == Status::Fail && verdict.severity >= alert.severity => {}
            Some(verdict) => *verdict = of_agent,
            None => verdicts.push(of_agent),
        }
        *judgement = judgement.with(verdicts);
        report.alerts.push(alert);
    }
}
