//! Judging: what every check says of everything that was assessed, at one instant.

use std::sync::Arc;

use jiff::Timestamp;

use super::catalogue;
use super::entry::{Check, Watching};
use crate::domain::assessment::{Assessment, DatabaseReport};
use crate::domain::number::{Scope, Subject};
use crate::domain::verdict::{Verdict, Verdicts};

/// Judges one assessment after the other. The verdicts on a database stay as they are while it is the same value in memory:
/// whoever wants it judged anew makes a new one of it.
#[derive(Debug)]
pub struct Judge {
    watching: Watching,
    /// In the order of the names of the databases.
    last: Vec<(Arc<DatabaseReport>, Arc<[Verdict]>)>,
}

impl Judge {
    /// Judges what came to be known in one way.
    pub fn new(watching: Watching) -> Self {
        Self { watching, last: Vec::new() }
    }

    /// The verdicts of all checks on everything.
    pub fn judge(&mut self, assessment: &Assessment, now: Timestamp) -> Verdicts {
        let mut last = std::mem::take(&mut self.last).into_iter().peekable();
        for database in &assessment.databases {
            while last.next_if(|(known, _)| known.name < database.name).is_some() {}
            let known = last.next_if(|(known, _)| Arc::ptr_eq(known, database));
            self.last.push(known.unwrap_or_else(|| {
                let verdicts = on_database(database, now, self.watching);
                (Arc::clone(database), verdicts.into())
            }));
        }
        Verdicts {
            databases: self.last.iter().map(|(_, verdicts)| Arc::clone(verdicts)).collect(),
            agent: on_agent(assessment, now, self.watching),
        }
    }
}

/// Judges one database and its replicas.
pub(super) fn on_database(database: &DatabaseReport, now: Timestamp, watching: Watching) -> Vec<Verdict> {
    let verdict = |check: &Check, subject| check.verdict(subject, now, watching);
    let on = |check: &'static Check| match check.scope() {
        Scope::Database => verdict(check, Subject::Database(database)).into_iter().collect(),
        Scope::Replica => Subject::replicas(database).filter_map(|subject| verdict(check, subject)).collect::<Vec<_>>(),
        // Those of the agent itself.
        _ => Vec::new(),
    };
    catalogue().flat_map(on).collect()
}

/// Judges the agent itself: each check is one verdict, that of the worst of its subjects.
pub(super) fn on_agent(assessment: &Assessment, now: Timestamp, watching: Watching) -> Vec<Verdict> {
    let of_agent = catalogue().filter(|check| !matches!(check.scope(), Scope::Database | Scope::Replica));
    let worst = |check: &'static Check| {
        let subjects = check.scope().subjects(assessment);
        let verdicts = subjects.filter_map(|subject| check.verdict(subject, now, watching));
        verdicts.max_by_key(|verdict| (verdict.status, verdict.severity))
    };
    of_agent.filter_map(worst).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::sample;

    #[test]
    fn what_did_not_change_is_not_judged_again() {
        let databases = ["a", "b", "c"].map(sample::healthy).to_vec();
        let mut assessment = sample::report(databases).assessment;
        let mut judge = Judge::new(Watching::Continuously);
        let first = judge.judge(&assessment, sample::now());
        assessment.databases[2] = Arc::new(sample::pending("c"));
        assessment.databases.remove(1);
        let second = judge.judge(&assessment, sample::now() + jiff::SignedDuration::from_hours(9));
        assert!(Arc::ptr_eq(&first.databases[0], &second.databases[0]), "the same value in memory");
        assert_eq!(second.databases.len(), 2);
        assert_ne!(first.databases[2], second.databases[1]);
        assert!(second.databases[1].iter().all(|verdict| verdict.database.as_deref() == Some("c")));
    }
}
