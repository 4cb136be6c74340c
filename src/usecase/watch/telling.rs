//! A line in the log when a database or a replica becomes bad, when that has another reason, and when it is well again; and
//! when an alert begins to fire, or ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::subject::Subject;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::human::{age_seconds, spoken};
use crate::domain::moment::Moment;
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::target::TargetName;
use crate::domain::verdict::{Severity, Status, Verdict};

/// The shortest time between two messages about something that comes and goes.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// So many of one place have a line each; with more at once, one line counts them.
const LINES_MAX: usize = 3;

/// A database, or one of its replicas.
type Thing = (TargetName, Option<String>);

/// A problem of a subject.
#[derive(Clone, Debug)]
struct Trouble {
    /// The key that tells it from another problem, because its message may contain numbers.
    key: &'static str,
    message: String,
    hint: Option<String>,
}

/// The last message about one subject.
#[derive(Debug)]
struct Said {
    key: Option<&'static str>,
    /// Since when it is bad, and when that was last said.
    since: Moment,
    at: Moment,
}

/// A line to write, if it is not one of many.
#[derive(Debug)]
pub(super) struct Line {
    thing: Thing,
    /// The place that fails as one.
    place: String,
    /// `None`: it is well again, after so many seconds.
    trouble: Result<Trouble, f64>,
    /// It was bad before, for another reason.
    other: bool,
}

/// The log's memory of everything that is bad, or was a minute ago.
#[derive(Debug, Default)]
pub(super) struct Telling {
    said: BTreeMap<Thing, Said>,
}

impl Telling {
    /// What is to be said of a subject of which a new report tells.
    pub(super) fn compare(&mut self, subject: &Subject, report: &Report, now: Moment) -> Vec<Line> {
        let (name, database) = (&subject.target.name, &subject.report);
        let verdicts = report.verdicts_on(&name.0);
        let own = trouble(verdicts, database.reason.as_ref(), None);
        let mut lines: Vec<_> = self.turn((name.clone(), None), String::new(), own, now).into_iter().collect();
        for (replica, watched) in database.replicas.iter().zip(&subject.replicas) {
            let thing = (name.clone(), Some(replica.name.clone()));
            let trouble = trouble(verdicts, replica.reason.as_ref(), Some(&replica.name));
            lines.extend(self.turn(thing, watched.target.location.queue(), trouble, now));
        }
        lines
    }

    fn turn(&mut self, thing: Thing, place: String, trouble: Option<Trouble>, now: Moment) -> Option<Line> {
        let said = self.said.get_mut(&thing);
        match (trouble, said) {
            (None, None) => None,
            (None, Some(said)) => {
                if said.key.take().is_some() {
                    let seconds = now.since(said.since).as_secs_f64();
                    return Some(Line { thing, place, trouble: Err(seconds), other: false });
                }
                if now.since(said.at) >= AGAIN {
                    self.said.remove(&thing);
                }
                None
            }
            (Some(trouble), None) => {
                self.said.insert(thing.clone(), Said { key: Some(trouble.key), since: now, at: now });
                Some(Line { thing, place, trouble: Ok(trouble), other: false })
            }
            (Some(trouble), Some(said)) => {
                if said.key == Some(trouble.key) || now.since(said.at) < AGAIN {
                    return None;
                }
                let other = said.key.replace(trouble.key).is_some();
                said.since = if other { said.since } else { now };
                said.at = now;
                Some(Line { thing, place, trouble: Ok(trouble), other })
            }
        }
    }

    /// Forgets a target that is no longer watched.
    pub(super) fn forget(&mut self, name: &TargetName) {
        self.said.retain(|(target, _), _| target != name);
    }
}

/// Why something could not be looked at, or the first critical check that fails on it.
fn trouble(verdicts: &[Verdict], reason: Option<&Reason>, replica: Option<&str>) -> Option<Trouble> {
    if let Some(reason) = reason {
        let (message, hint) = (reason.message.clone(), reason.hint.clone());
        return Some(Trouble { key: reason.kind.as_str(), message, hint });
    }
    let critical = verdicts.iter().find(|verdict| {
        let fails = verdict.status == Status::Fail && verdict.severity == Severity::Critical;
        fails && verdict.replica.as_deref() == replica
    })?;
    let hint = Some(format!("streamgauge why {}", critical.check));
    Some(Trouble { key: critical.check, message: format!("{}: {}", critical.check, critical.detail), hint })
}

/// Writes lines, or one for many of the same place and kind.
pub(super) fn tell(lines: Vec<Line>) {
    let mut groups: BTreeMap<(String, Option<&str>), Vec<Line>> = BTreeMap::new();
    for line in lines {
        let key = line.trouble.as_ref().ok().map(|trouble| trouble.key);
        groups.entry((line.place.clone(), key)).or_default().push(line);
    }
    for ((place, _), group) in groups {
        match group.first() {
            Some(first) if group.len() > LINES_MAX => many(&place, group.len(), first),
            _ => group.iter().for_each(one),
        }
    }
}

fn one(line: &Line) {
    let ((database, replica), trouble) = (&line.thing, &line.trouble);
    let what = if replica.is_some() { "replica" } else { "database" };
    let other = if line.other { " for another reason" } else { "" };
    match trouble {
        Ok(Trouble { message: reason, hint, .. }) => {
            tracing::warn!(%database, replica, reason, hint, "{what} is bad{other}");
        }
        Err(seconds) => tracing::info!(%database, replica, after = spoken(*seconds), "{what} is well again"),
    }
}

fn many(place: &str, count: usize, first: &Line) {
    let place = Some(place).filter(|place| !place.is_empty());
    let what = if place.is_some() { "replicas" } else { "databases" };
    match &first.trouble {
        Ok(Trouble { message: reason, hint, .. }) => {
            tracing::warn!(count, place, first = %first.thing.0, reason, hint, "{what} are bad");
        }
        Err(seconds) => {
            tracing::info!(count, place, first = %first.thing.0, after = spoken(*seconds), "{what} are well again");
        }
    }
}

/// Alerts that began to fire since an earlier board, or that ended: those of one check and severity together.
fn news<'a>(before: &[Arc<Alert>], after: &'a [Arc<Alert>]) -> Vec<Vec<&'a Alert>> {
    let fired = before.iter().filter(|alert| alert.state == AlertState::Firing);
    let fired: BTreeSet<&BTreeMap<String, String>> = fired.map(|alert| &alert.labels).collect();
    let mut groups: BTreeMap<(bool, &str, Severity), Vec<&Alert>> = BTreeMap::new();
    for alert in after {
        let fires = alert.state == AlertState::Firing;
        if alert.state != AlertState::Pending && fires != fired.contains(&alert.labels) {
            groups.entry((fires, alert.name(), alert.severity)).or_default().push(alert);
        }
    }
    groups.into_values().collect()
}

/// Writes what became of alerts.
pub(super) fn tell_alerts(before: &[Arc<Alert>], after: &[Arc<Alert>]) {
    for group in news(before, after) {
        match group.first() {
            Some(first) if group.len() > LINES_MAX => alert(first, Some(group.len())),
            _ => group.iter().for_each(|one| alert(one, None)),
        }
    }
}

/// One alert, or the first of many.
fn alert(alert: &Alert, count: Option<usize>) {
    let (name, severity) = (alert.name(), alert.severity.as_str());
    let text = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned();
    let [database, replica] = ["database", "replica"].map(|label| text(&alert.labels, label));
    let what = if count.is_some() { "alerts" } else { "alert" };
    if alert.state == AlertState::Firing {
        let (reason, hint) = (text(&alert.annotations, "description"), format!("streamgauge why {name}"));
        let suppressed = alert.suppressed.as_deref();
        tracing::warn!(alert = name, severity, count, database, replica, reason, suppressed, hint, "{what} firing");
    } else {
        let ended = if alert.is_unwatched() { "no longer watched" } else { "resolved" };
        let after = alert.resolved_at.map(|at| spoken(age_seconds(alert.fired_at.unwrap_or(alert.active_at), at)));
        tracing::info!(alert = name, severity, count, database, replica, after, "{what} {ended}");
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Moment {
        Moment { wall: Timestamp::from_second(1_000_000 + second).unwrap(), mono: SignedDuration::from_secs(second) }
    }

    /// Checks what is logged at each second about something with this problem.
    fn check(steps: &[(i64, Option<&'static str>)], expected: &[&str]) {
        let mut telling = Telling::default();
        let said = steps.iter().filter_map(|(second, key)| {
            let trouble = key.map(|key| Trouble { key, message: format!("at {second}"), hint: None });
            let line = telling.turn((TargetName("app".into()), None), String::new(), trouble, at(*second))?;
            Some(match line.trouble {
                Ok(trouble) => format!("{second} {}{}", trouble.key, if line.other { ", another" } else { "" }),
                Err(seconds) => format!("{second} well after {seconds}"),
            })
        });
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_what_changes_is_said() {
        check(&[(0, None), (1, None)], &[]);
        check(
            &[(0, Some("denied")), (1, Some("denied")), (900, Some("denied")), (910, Some("timeout")), (1000, None)],
            &["0 denied", "910 timeout, another", "1000 well after 1000"],
        );
    }

    #[test]
    fn what_comes_and_goes_is_said_once_a_minute() {
        let flapping: Vec<_> = (0..120).map(|second| (second, (second % 2 == 0).then_some("throttled"))).collect();
        check(&flapping, &["0 throttled", "1 well after 1", "60 throttled", "61 well after 1"]);
    }

    /// Alerts of databases, each with its state.
    fn board(alerts: &[(&str, AlertState)]) -> Vec<Arc<Alert>> {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let alert = |(database, state): &(&str, AlertState)| Alert {
            labels: BTreeMap::from([label("alertname", "ReplicationLag"), label("database", database)]),
            annotations: BTreeMap::new(),
            severity: Severity::Critical,
            state: *state,
            active_at: at(0).wall,
            fired_at: Some(at(60).wall),
            resolved_at: None,
            value: 1.0,
            suppressed: None,
        };
        alerts.iter().map(|one| Arc::new(alert(one))).collect()
    }

    #[test]
    fn alerts_are_told_of_when_they_fire_and_when_they_end() {
        use AlertState::{Firing, Pending, Resolved};
        let told = |before: &[(&str, AlertState)], after: &[(&str, AlertState)]| -> Vec<Vec<String>> {
            let (before, after) = (board(before), board(after));
            let name = |alert: &&Alert| format!("{} {:?}", alert.labels["database"], alert.state);
            news(&before, &after).iter().map(|group| group.iter().map(name).collect()).collect()
        };
        assert!(told(&[], &[("a", Pending)]).is_empty());
        assert_eq!(told(&[("a", Pending)], &[("a", Firing), ("b", Firing)]), [["a Firing", "b Firing"]]);
        assert!(told(&[("a", Firing)], &[("a", Firing)]).is_empty());
        assert_eq!(told(&[("a", Firing), ("b", Pending)], &[("a", Resolved)]), [["a Resolved"]]);
        assert!(told(&[("a", Resolved)], &[("a", Resolved)]).is_empty());
        assert_eq!(
            told(&[("a", Firing), ("b", Pending)], &[("a", Resolved), ("b", Firing)]),
            [["a Resolved"], ["b Firing"]]
        );
    }
}
