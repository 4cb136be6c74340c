//! A line in the log when a database or a replica becomes bad, when that has another reason, and when it is well again; and
//! when an alert begins to fire, or ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::replica::WatchedReplica;
use super::subject::Subject;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::assessment::ReplicaReport;
use crate::domain::human::{age_seconds, spoken};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;
use crate::domain::target::TargetName;
use crate::domain::verdict::{Severity, Status, Verdict};
use crate::usecase::ports::Configuration;

/// The shortest time between two messages about something that comes and goes.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// So many of one kind have a line each in the time of [`AGAIN`]; with more, one line counts them.
const LINES_MAX: usize = 3;

/// A database, or one of its replicas.
type Thing = (TargetName, Option<String>);

/// What tells one problem from another, whose messages may contain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// It could not be looked at.
    Reason(ReasonKind),
    /// This check fails.
    Check(&'static str),
}

/// A problem of a subject.
#[derive(Clone, Debug)]
struct Trouble {
    cause: Cause,
    message: String,
    hint: Option<String>,
}

/// The last message about one subject.
#[derive(Debug)]
struct Said {
    cause: Option<Cause>,
    /// Since when it is bad, and when that was last said.
    since: Moment,
    at: Moment,
}

/// What became of a subject.
#[derive(Debug)]
enum News {
    /// It is bad, and may have been before, for `another` reason.
    Bad { trouble: Trouble, another: bool },
    /// It was bad for so many seconds, in the end for this reason.
    Well { cause: Cause, seconds: f64 },
}

/// A line to write, if it is not one of many.
#[derive(Debug)]
pub(super) struct Line {
    thing: Thing,
    /// The place that fails as one.
    place: String,
    news: News,
    /// Up to when a replica is proven to hold everything, and what would be lost with the disk of its database.
    safe_until: Option<String>,
    at_risk: Option<String>,
    /// What it is about is no replica, or it is proven to restore up to some time.
    restores: bool,
}

/// Of which kind of place a line is, and of what is bad there; of what is well again, nothing.
type Kind = (String, Option<Cause>);

/// The lines of one kind.
#[derive(Debug)]
struct Told {
    /// Since when `written` are counted.
    since: Moment,
    written: usize,
    /// What waits to be told of together: one outage shows on every database of a fleet at a time of its own.
    waiting: Vec<Line>,
}

/// The log's memory of everything that is bad, or was a minute ago.
#[derive(Debug, Default)]
pub(super) struct Telling {
    said: BTreeMap<Thing, Said>,
    told: BTreeMap<Kind, Told>,
}

impl Telling {
    /// What is to be said of a subject of which a new report tells.
    pub(super) fn compare(
        &mut self,
        subject: &Subject,
        report: &Report,
        configuration: &dyn Configuration,
        now: Moment,
    ) -> Vec<Line> {
        let (name, database) = (&subject.target.name, &subject.report);
        let verdicts = report.verdicts_on(&name.0);
        let mut lines = Vec::new();
        let mut turn = |replica: Option<(&ReplicaReport, &WatchedReplica)>, reason: Option<&Reason>| {
            let (replica, watched) = replica.unzip();
            let trouble = trouble(verdicts, reason, replica.map(|replica| replica.name.as_str()), configuration);
            if trouble.is_none() && self.said.is_empty() {
                return;
            }
            let thing = (name.clone(), replica.map(|replica| replica.name.clone()));
            let Some(news) = self.turn(&thing, trouble, now) else { return };
            let place = watched.map(|watched| watched.target.location.queue()).unwrap_or_default();
            let (safe_until, at_risk) = (replica.map(safe_until), replica.map(at_risk));
            let restores = replica.is_none_or(|replica| replica.safe_until().is_some());
            lines.push(Line { thing, place, news, safe_until, at_risk, restores });
        };
        turn(None, database.reason.as_deref());
        for (replica, watched) in database.replicas.iter().zip(&subject.replicas) {
            turn(Some((replica, watched)), replica.reason.as_deref());
        }
        lines
    }

    fn turn(&mut self, thing: &Thing, trouble: Option<Trouble>, now: Moment) -> Option<News> {
        let said = self.said.get_mut(thing);
        match (trouble, said) {
            (None, None) => None,
            (None, Some(said)) => {
                if let Some(cause) = said.cause.take() {
                    return Some(News::Well { cause, seconds: now.since(said.since).as_secs_f64() });
                }
                if now.since(said.at) >= AGAIN {
                    self.said.remove(thing);
                }
                None
            }
            (Some(trouble), None) => {
                self.said.insert(thing.clone(), Said { cause: Some(trouble.cause), since: now, at: now });
                Some(News::Bad { trouble, another: false })
            }
            (Some(trouble), Some(said)) => {
                if said.cause == Some(trouble.cause) || now.since(said.at) < AGAIN {
                    return None;
                }
                let another = said.cause.replace(trouble.cause).is_some();
                said.since = if another { said.since } else { now };
                said.at = now;
                Some(News::Bad { trouble, another })
            }
        }
    }

    /// Writes lines: a few of each kind by themselves, more in one line for all of them, at once or when the time has come.
    pub(super) fn tell(&mut self, lines: Vec<Line>, now: Moment) {
        for group in self.due(lines, now) {
            match group.first() {
                Some(first) if group.len() > LINES_MAX => many(&group, first),
                _ => group.iter().for_each(one),
            }
        }
    }

    /// What is to be written by now, each kind by itself. What waits to be said of a thing is not said when there is newer news
    /// of it.
    fn due(&mut self, lines: Vec<Line>, now: Moment) -> Vec<Vec<Line>> {
        let newer: BTreeSet<Thing> = lines.iter().map(|line| line.thing.clone()).collect();
        self.told.values_mut().for_each(|told| told.waiting.retain(|line| !newer.contains(&line.thing)));
        for line in lines {
            let told =
                self.told.entry(line.kind()).or_insert_with(|| Told { since: now, written: 0, waiting: Vec::new() });
            told.waiting.push(line);
        }
        let mut due = Vec::new();
        self.told.retain(|_, told| {
            let over = now.since(told.since) >= AGAIN;
            if over {
                (told.since, told.written) = (now, 0);
            }
            let count = told.waiting.len();
            if count > 0 && told.written < LINES_MAX {
                told.written += count;
                due.push(std::mem::take(&mut told.waiting));
            }
            !over || told.written > 0
        });
        due
    }

    /// Forgets a target that is no longer watched.
    pub(super) fn forget(&mut self, name: &TargetName) {
        self.said.retain(|(target, _), _| target != name);
        self.told.values_mut().for_each(|told| told.waiting.retain(|line| line.thing.0 != *name));
    }
}

/// Why something could not be looked at, or the first critical check that fails on it.
fn trouble(
    verdicts: &[Verdict],
    reason: Option<&Reason>,
    replica: Option<&str>,
    configuration: &dyn Configuration,
) -> Option<Trouble> {
    if let Some(Reason { kind, message, hint, .. }) = reason {
        return Some(Trouble { cause: Cause::Reason(*kind), message: message.clone(), hint: hint.clone() });
    }
    let critical = verdicts.iter().find(|verdict| {
        let fails = verdict.status == Status::Fail && verdict.severity == Severity::Critical;
        fails && verdict.replica.as_deref() == replica
    })?;
    let hint = Some(configuration.command(&format!("why {}", critical.check)));
    Some(Trouble { cause: Cause::Check(critical.check), message: critical.detail.to_string(), hint })
}

impl News {
    /// The check that fails, or the kind of the reason why nothing is known.
    fn words(&self) -> (Option<&'static str>, Option<&'static str>) {
        let (Self::Bad { trouble: Trouble { cause, .. }, .. } | Self::Well { cause, .. }) = self;
        match cause {
            Cause::Reason(kind) => (None, Some(kind.as_str())),
            Cause::Check(check) => (Some(check), None),
        }
    }
}

impl Line {
    fn kind(&self) -> Kind {
        let cause = match &self.news {
            News::Bad { trouble, .. } => Some(trouble.cause),
            News::Well { .. } => None,
        };
        (kind_of(&self.place).to_owned(), cause)
    }
}

/// The kind of a place, such as `s3`.
fn kind_of(place: &str) -> &str {
    place.split(' ').next().unwrap_or_default()
}

/// The place of all, the directory above those of all, or else their kind.
fn common_place(lines: &[Line]) -> String {
    let Some((first, rest)) = lines.split_first() else { return String::new() };
    let kind = kind_of(&first.place);
    let mut common = Path::new(&first.place);
    for line in rest {
        while !Path::new(&line.place).starts_with(common) {
            common = common.parent().filter(|_| kind == "file").unwrap_or_else(|| Path::new(kind));
            if common == Path::new(kind) {
                return kind.to_owned();
            }
        }
    }
    common.display().to_string().trim_end().to_owned()
}

/// What is said of a replica that is not bad for its old reason any more, and of which nothing is proven to restore.
const CAN_BE_LOOKED_AT: &str = "can be looked at again";

fn one(line: &Line) {
    let ((database, replica), (check, kind)) = (&line.thing, line.news.words());
    let what = if replica.is_some() { "replica" } else { "database" };
    let Line { safe_until, at_risk, .. } = line;
    match &line.news {
        News::Bad { trouble: Trouble { message: reason, hint, .. }, another } => {
            let another = if *another { " for another reason" } else { "" };
            tracing::warn!(
                %database, replica, check, kind, reason, safe_until, at_risk, hint, "{what} is bad{another}"
            );
        }
        News::Well { seconds, .. } => {
            let again = if line.restores { "is well again" } else { CAN_BE_LOOKED_AT };
            tracing::info!(%database, replica, check, kind, after = spoken(*seconds), safe_until, "{what} {again}");
        }
    }
}

fn many(lines: &[Line], first: &Line) {
    let count = lines.len();
    let place = Some(common_place(lines)).filter(|place| !place.is_empty());
    let what = if place.is_some() { "replicas" } else { "databases" };
    let (name, (check, kind)) = (&first.thing.0, first.news.words());
    match &first.news {
        News::Bad { trouble: Trouble { message: reason, hint, .. }, .. } => {
            tracing::warn!(count, place, first = %name, check, kind, reason, hint, "{what} are bad");
        }
        News::Well { seconds, .. } => {
            let again = if lines.iter().all(|line| line.restores) { "are well again" } else { CAN_BE_LOOKED_AT };
            tracing::info!(count, place, first = %name, check, kind, after = spoken(*seconds), "{what} {again}");
        }
    }
}

fn safe_until(replica: &ReplicaReport) -> String {
    match replica.safe_until() {
        Some(at) => second(at),
        None if replica.is_broken() => "does not restore".to_owned(),
        None => "unknown".to_owned(),
    }
}

fn at_risk(replica: &ReplicaReport) -> String {
    replica.at_risk_words().unwrap_or_else(|| "unknown".to_owned())
}

/// An instant without its fraction, in RFC 3339.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The labels that identify an alert.
type Labels = BTreeMap<String, String>;

/// The log's memory of the alerts that fire.
#[derive(Debug, Default)]
pub(super) struct AlertTelling {
    said: BTreeSet<Labels>,
}

impl AlertTelling {
    /// What an earlier run has told of.
    pub(super) fn restore(&mut self, alerts: &[Arc<Alert>]) {
        self.news(alerts);
    }

    /// Alerts that began to fire, or that ended: those of one check and severity together. One of which nobody is told is
    /// no news: it is silenced, or a worse one says the same.
    fn news<'a>(&mut self, alerts: &'a [Arc<Alert>]) -> Vec<Vec<&'a Alert>> {
        let before = std::mem::take(&mut self.said);
        let mut groups: BTreeMap<(bool, &str, Severity), Vec<&Alert>> = BTreeMap::new();
        for alert in alerts {
            let said = before.contains(&alert.labels);
            let fires = alert.state == AlertState::Firing;
            let known = fires && (said || alert.suppressed.is_none());
            if known {
                self.said.insert(alert.labels.clone());
            }
            if known != said && (known || alert.state == AlertState::Resolved) {
                groups.entry((fires, alert.name(), alert.severity)).or_default().push(alert);
            }
        }
        groups.into_values().collect()
    }

    /// Writes what became of alerts.
    pub(super) fn tell(&mut self, alerts: &[Arc<Alert>], configuration: &dyn Configuration) {
        for group in self.news(alerts) {
            match group.first() {
                Some(first) if group.len() > LINES_MAX => alert(first, Some(group.len()), configuration),
                _ => group.iter().for_each(|one| alert(one, None, configuration)),
            }
        }
    }
}

/// One alert, or the first of many.
fn alert(alert: &Alert, count: Option<usize>, configuration: &dyn Configuration) {
    let (name, severity) = (alert.name(), alert.severity.as_str());
    let [database, replica] = ["database", "replica"].map(|label| alert.labels.get(label));
    let what = if count.is_some() { "alerts" } else { "alert" };
    if alert.state == AlertState::Firing {
        let (reason, since) = (alert.evidence(), second(alert.active_at));
        let hint = configuration.command(&format!("why {name}"));
        tracing::warn!(alert = name, severity, count, database, replica, since, reason, hint, "{what} firing");
    } else {
        let ended = alert.ending();
        // It was kept for a while after that, which counts for nothing.
        let held = alert.until().map(|at| spoken(age_seconds(alert.active_at, at)));
        let until = alert.until().map(second);
        tracing::info!(alert = name, severity, count, database, replica, held, until, "{what} {ended}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::naming::Names;
    use crate::domain::reason::ReasonKind::{Denied, Throttled, Timeout};
    use crate::usecase::ports::{AskedBy, Configured};

    fn at(second: i64) -> Moment {
        Moment::new(Timestamp::from_second(1_000_000 + second).unwrap(), SignedDuration::from_secs(second))
    }

    /// Checks what is logged at each second about something with this problem.
    fn check(steps: &[(i64, Option<ReasonKind>)], expected: &[&str]) {
        let mut telling = Telling::default();
        let said = steps.iter().filter_map(|(second, kind)| {
            let trouble =
                kind.map(|kind| Trouble { cause: Cause::Reason(kind), message: format!("at {second}"), hint: None });
            let news = telling.turn(&(TargetName("app".into()), None), trouble, at(*second))?;
            let kind = news.words().1.unwrap();
            Some(match news {
                News::Bad { another, .. } => format!("{second} {kind}{}", if another { ", another" } else { "" }),
                News::Well { seconds, .. } => format!("{second} well after {seconds} of {kind}"),
            })
        });
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_what_changes_is_said() {
        check(&[(0, None), (1, None)], &[]);
        check(
            &[(0, Some(Denied)), (1, Some(Denied)), (900, Some(Denied)), (910, Some(Timeout)), (1000, None)],
            &["0 denied", "910 timeout, another", "1000 well after 1000 of timeout"],
        );
    }

    #[test]
    fn what_comes_and_goes_is_said_once_a_minute() {
        let flapping: Vec<_> = (0..120).map(|second| (second, (second % 2 == 0).then_some(Throttled))).collect();
        check(
            &flapping,
            &["0 throttled", "1 well after 1 of throttled", "60 throttled", "61 well after 1 of throttled"],
        );
    }

    /// A replica at that place that is bad, or well again.
    fn line(place: &str, bad: bool) -> Line {
        let cause = Cause::Check("ReplicationLag");
        let trouble = || Trouble { cause, message: String::new(), hint: None };
        let news =
            if bad { News::Bad { trouble: trouble(), another: false } } else { News::Well { cause, seconds: 1.0 } };
        let thing = (TargetName(place.into()), Some("file".to_owned()));
        Line { thing, place: place.to_owned(), news, safe_until: None, at_risk: None, restores: true }
    }

    #[test]
    fn an_outage_of_a_fleet_has_few_lines_however_it_comes_over_it() {
        let mut telling = Telling::default();
        let mut written: Vec<Vec<Line>> = Vec::new();
        let place = |number| format!("file /srv/backups/t{number:04}");
        for second in 0..400 {
            let bad = (second < 190).then(|| line(&place(second), true));
            let well = (0..190).filter(|_| second == 200).map(|number| line(&place(number), false));
            written.extend(telling.due(bad.into_iter().chain(well).collect(), at(second)));
        }
        let lines: Vec<(bool, usize)> =
            written.iter().map(|group| (matches!(group[0].news, News::Bad { .. }), group.len())).collect();
        // Three by themselves, then once a minute all that came since; what ends together is told of together. The last nine
        // were still to be told of, and are well: that they are bad would be wrong by then.
        assert_eq!(lines, [(true, 1), (true, 1), (true, 1), (true, 58), (true, 60), (true, 60), (false, 190)]);
        assert!(written.iter().skip(3).all(|group| common_place(group) == "file /srv/backups"));
        assert!(telling.told.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn what_is_no_longer_watched_is_not_told_of_either() {
        let mut telling = Telling::default();
        let bad = |number: i64| line(&format!("file /srv/t{number}"), true);
        assert_eq!(telling.due((0..4).map(bad).collect(), at(0)).iter().flatten().count(), 4);
        assert!(telling.due(vec![bad(5), bad(6)], at(1)).is_empty());
        telling.forget(&bad(5).thing.0);
        let left: Vec<_> = telling.due(Vec::new(), at(60)).into_iter().flatten().map(|line| line.place).collect();
        assert_eq!(left, ["file /srv/t6"]);
    }

    #[test]
    fn many_places_are_named_by_what_they_have_in_common() {
        let common = |places: &[&str]| common_place(&places.iter().map(|place| line(place, true)).collect::<Vec<_>>());
        assert_eq!(common(&["file /a/b", "file /a/b"]), "file /a/b");
        assert_eq!(common(&["file /a/b", "file /a/bc/d"]), "file /a");
        assert_eq!(common(&["file /a", "file /b"]), "file");
        assert_eq!(common(&["s3 http://h:1 one", "s3 http://h:1 one"]), "s3 http://h:1 one");
        assert_eq!(common(&["s3 http://h:1 one", "s3 http://h:1 two"]), "s3");
        assert_eq!(common(&["", ""]), "");
    }

    /// Alerts of databases, each with its state.
    fn board(alerts: &[(&str, AlertState)]) -> Vec<Arc<Alert>> {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let alert = |(database, state): &(&str, AlertState)| Alert {
            labels: BTreeMap::from([label("alertname", "ReplicationLag"), label("database", database)]),
            annotations: BTreeMap::new(),
            severity: Severity::Critical,
            state: *state,
            active_at: at(0).wall(),
            fired_at: Some(at(60).wall()),
            ended_at: None,
            resolved_at: None,
            value: 1.0,
            suppressed: None,
        };
        alerts.iter().map(|one| Arc::new(alert(one))).collect()
    }

    #[test]
    fn alerts_are_told_of_when_they_fire_and_when_they_end() {
        use AlertState::{Firing, Pending, Resolved};
        let told = |boards: &[&[(&str, AlertState)]]| {
            let mut telling = AlertTelling::default();
            let boards = boards.iter().map(|alerts| {
                let alerts = board(alerts);
                let name = |alert: &&Alert| format!("{} {:?}", alert.labels["database"], alert.state);
                let groups = telling.news(&alerts);
                groups.iter().map(|group| group.iter().map(name).collect::<Vec<_>>().join(", ")).collect::<Vec<_>>()
            });
            boards.collect::<Vec<_>>().last().unwrap().join("; ")
        };
        assert_eq!(told(&[&[("a", Pending)]]), "");
        assert_eq!(told(&[&[("a", Pending)], &[("a", Firing), ("b", Firing)]]), "a Firing, b Firing");
        assert_eq!(told(&[&[("a", Firing)], &[("a", Firing)]]), "");
        assert_eq!(told(&[&[("a", Firing), ("b", Pending)], &[("a", Resolved)]]), "a Resolved");
        assert_eq!(told(&[&[("a", Resolved)]]), "");
        assert_eq!(
            told(&[&[("a", Firing), ("b", Pending)], &[("a", Resolved), ("b", Firing)]]),
            "a Resolved; b Firing"
        );
    }

    /// Of an agent that was started with a file of its own.
    struct Elsewhere;

    impl Configuration for Elsewhere {
        fn load(&self, _: Names, _: AskedBy) -> Result<Configured, String> {
            Err("not read here".to_owned())
        }

        fn command(&self, words: &str) -> String {
            format!("streamgauge {words} --config.file /etc/own.toml")
        }
    }

    #[test]
    fn a_hint_finds_the_configuration_of_the_agent() {
        let verdict = Verdict {
            check: "ReplicationLag",
            title: "",
            severity: Severity::Critical,
            database: Some("app".into()),
            replica: None,
            status: Status::Fail,
            detail: "behind".into(),
        };
        let told = trouble(&[verdict], None, None, &Elsewhere).unwrap();
        assert_eq!(told.hint.as_deref(), Some("streamgauge why ReplicationLag --config.file /etc/own.toml"));
    }

    #[test]
    fn what_nobody_is_told_is_not_in_the_log() {
        let mut telling = AlertTelling::default();
        let mut turn = |state, suppressed: bool| {
            let mut alerts = board(&[("a", state)]);
            Arc::make_mut(&mut alerts[0]).suppressed = suppressed.then(|| "silenced: moving".to_owned());
            telling.news(&alerts).len()
        };
        use AlertState::{Firing, Resolved};
        assert_eq!([turn(Firing, true), turn(Resolved, true)], [0, 0]);
        // A silence that ends, or begins, while it fires.
        assert_eq!([turn(Firing, true), turn(Firing, false), turn(Firing, true), turn(Firing, false)], [0, 1, 0, 0]);
        assert_eq!([turn(Firing, true), turn(Resolved, true)], [0, 1]);
    }
}
