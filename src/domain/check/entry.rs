//! An entry of the catalogue: what is expected, when it is not so, and how that is said.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::expression::Condition;
use crate::domain::human::spoken;
use crate::domain::number::{Scope, Subject};
pub use crate::domain::verdict::Watching;
use crate::domain::verdict::{Severity, Status, Verdict};

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Check {
    /// The alert's name, the label value and the heading in docs/RUNBOOK.md.
    pub name: &'static str,
    /// The expectation, as a statement that is true while the check passes.
    pub title: &'static str,
    /// The problem when it fails. `{database}` and the other labels of its scope are replaced.
    pub summary: &'static str,
    /// The same with the number, `{value}`, and what it means.
    pub description: &'static str,
    /// The first thing to do.
    pub action: &'static str,
    /// How `{value}` is written.
    pub unit: Unit,
    /// It fails while one of them holds; the worst first.
    pub rules: &'static [Rule],
    /// What it says of one thing, in a sentence with the numbers; `None` where it does not apply.
    pub explain: fn(&Context, Subject<'_>) -> Option<Explanation>,
}

/// When a check fails, and when that becomes an alert.
#[derive(Debug)]
pub struct Rule {
    pub severity: Severity,
    pub when: Condition,
    /// It has to hold for so long before anyone is told.
    pub hold: Duration,
    /// An alert stays for so long after it last held, so that what comes and goes is one alert.
    pub keep_firing: Duration,
}

/// A rule that holds for some minutes before anyone is told, and whose alert stays for five.
pub(super) const fn rule(severity: Severity, when: Condition, hold_minutes: u64) -> Rule {
    Rule { severity, when, hold: Duration::from_secs(60 * hold_minutes), keep_firing: Duration::from_secs(300) }
}

/// How the number of an alert is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Bytes,
    /// 0.8 is 80 %.
    Ratio,
    Count,
    Dollars,
}

/// What is known besides the subject.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub now: Timestamp,
    pub watching: Watching,
    /// The worst of its rules that holds.
    pub failing: Option<Severity>,
}

impl Context {
    /// How long ago it was, in words.
    pub(super) fn age(&self, at: Timestamp) -> String {
        spoken(self.now.duration_since(at).as_secs_f64())
    }
}

/// What a check says of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// It passes unless a rule holds.
    Known(String),
    /// It is unknown unless a rule holds.
    Unknown(String),
    /// It fails without a rule: only where [`Watching::Once`] cannot know what an agent would.
    Failing(Severity, String),
}

impl Check {
    /// What it is about: what its conditions are about.
    pub fn scope(&self) -> Scope {
        self.rules.first().map_or(Scope::Outside, |rule| rule.when.scope())
    }

    /// One of its texts about one subject: `{database}` and the other labels of its scope are replaced by these values.
    pub fn fill(&self, text: &str, values: &[impl AsRef<str>]) -> String {
        let labels = self.scope().labels().iter().zip(values);
        labels.fold(text.to_owned(), |text, (label, value)| text.replace(&format!("{{{label}}}"), value.as_ref()))
    }

    /// What it says of one subject; `None` where it does not apply.
    pub fn verdict(&self, subject: Subject<'_>, now: Timestamp, watching: Watching) -> Option<Verdict> {
        let holding: Vec<&Rule> = self.holding(subject, now).collect();
        let names = match subject {
            Subject::Database(database) => [Some(database.name.as_str()), None],
            Subject::Replica(database, replica) => [Some(database.name.as_str()), Some(replica.name.as_str())],
            _ => [None, None],
        };
        self.conclude(subject, &holding, (now, watching), names.map(|name| name.map(Arc::from)), None)
    }

    /// Its rules that hold of a subject.
    pub(super) fn holding(&self, subject: Subject<'_>, now: Timestamp) -> impl Iterator<Item = &'static Rule> {
        self.rules.iter().filter(move |rule| rule.when.value(subject, now).is_some())
    }

    /// The words of a verdict that passes.
    pub(super) fn passing(&self, subject: Subject<'_>, (now, watching): (Timestamp, Watching)) -> Option<Arc<str>> {
        match (self.explain)(&Context { now, watching, failing: None }, subject)? {
            Explanation::Known(detail) => Some(detail.into()),
            Explanation::Unknown(_) | Explanation::Failing(..) => None,
        }
    }

    /// The verdict on a subject of these names, of which these rules hold. Words that are those of a verdict on another one
    /// are shared with it.
    pub(super) fn conclude(
        &self,
        subject: Subject<'_>,
        holding: &[&Rule],
        (now, watching): (Timestamp, Watching),
        [database, replica]: [Option<Arc<str>>; 2],
        alike: Option<&Verdict>,
    ) -> Option<Verdict> {
        // The one of which people would be told first, and of those the worst: how long it holds is not known here.
        let failing = holding.iter().min_by_key(|rule| rule.hold).map(|rule| rule.severity);
        let context = Context { now, watching, failing };
        let explanation = (self.explain)(&context, subject)?;
        let worst = self.rules.first().map_or(Severity::Info, |rule| rule.severity);
        let (severity, status, detail) = match (failing, explanation) {
            (_, Explanation::Failing(severity, detail)) => (severity, Status::Fail, detail),
            (Some(severity), Explanation::Known(detail) | Explanation::Unknown(detail)) => {
                (severity, Status::Fail, detail)
            }
            (None, Explanation::Known(detail)) => (worst, Status::Pass, detail),
            (None, Explanation::Unknown(detail)) => (worst, Status::Unknown, detail),
        };
        let same = alike.map(|verdict| &verdict.detail).filter(|known| ***known == *detail);
        let detail = same.map_or_else(|| detail.into(), Arc::clone);
        Some(Verdict { check: self.name, title: self.title, severity, database, replica, status, detail })
    }
}
