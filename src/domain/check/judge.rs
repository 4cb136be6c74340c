//! Judging: what every check says of everything that was assessed, at one instant.

use std::iter::Peekable;
use std::sync::Arc;

use jiff::Timestamp;

use super::catalogue;
use super::entry::{Check, Rule, Watching};
use crate::domain::assessment::{Assessment, DatabaseReport};
use crate::domain::number::{Scope, Subject};
use crate::domain::verdict::{Breach, Judgement, Status, Verdict, Verdicts};

/// Judges one assessment after the other. The verdicts on a database stay as they are while it is the same value in memory:
/// whoever wants it judged anew makes a new one of it.
#[derive(Debug)]
pub struct Judge {
    watching: Watching,
    /// In the order of the names of the databases.
    last: Vec<Judged>,
    /// Those that were made last: databases are much alike, and so is what is said of them.
    alike: Arc<[Verdict]>,
}

/// A database with the verdicts on it.
#[derive(Debug)]
struct Judged {
    database: Arc<DatabaseReport>,
    verdicts: Judgement,
    /// All of them pass.
    well: bool,
    /// The rules that hold. Whoever notices that time alone turned one makes a new value of the database.
    broken: Vec<Broken>,
}

/// A rule that holds of a database, or of the replica at this place.
#[derive(Debug)]
struct Broken {
    check: &'static str,
    rule: &'static Rule,
    replica: Option<usize>,
}

impl Judge {
    /// Judges what came to be known in one way.
    pub fn new(watching: Watching) -> Self {
        Self { watching, last: Vec::new(), alike: Arc::default() }
    }

    /// The verdicts of all checks on everything.
    pub fn judge(&mut self, assessment: &Assessment, now: Timestamp) -> Verdicts {
        let mut last = std::mem::take(&mut self.last).into_iter().peekable();
        self.last.reserve_exact(assessment.databases.len());
        for database in &assessment.databases {
            let known = unchanged(&mut last, database, |known| &known.database);
            self.last.push(known.unwrap_or_else(|| {
                let mut verdicts = on_database(database, now, self.watching);
                shorten(&mut verdicts, &self.alike);
                let well = verdicts.iter().all(|verdict| verdict.status == Status::Pass);
                if verdicts[..] != self.alike[..] {
                    self.alike = verdicts.into();
                }
                let verdicts = Judgement { verdicts: Arc::clone(&self.alike), at: now, watching: self.watching };
                Judged { database: Arc::clone(database), verdicts, well, broken: broken(database, now) }
            }));
        }
        let mut verdicts = Verdicts {
            databases: self.last.iter().map(|judged| judged.verdicts.clone()).collect(),
            agent: self.judge_agent(assessment, now),
            ..Verdicts::default()
        };
        self.sum_up(&mut verdicts, now);
        verdicts
    }

    /// The verdicts of the checks on the agent itself.
    pub fn judge_agent(&self, assessment: &Assessment, now: Timestamp) -> Vec<Verdict> {
        on_agent(assessment, now, self.watching)
    }

    /// Adds the rules that hold, and how often each check does not pass.
    fn sum_up(&self, verdicts: &mut Verdicts, now: Timestamp) {
        let breaches = self.last.iter().flat_map(|judged| judged.breaches(now));
        verdicts.breaches = breaches.collect();
        verdicts.troubles =
            catalogue().filter(|check| is_on_database(check)).map(|check| (check.name, [0, 0])).collect();
        let troubled = self.last.iter().filter(|judged| !judged.well);
        for verdict in troubled.flat_map(|judged| judged.verdicts.iter()) {
            let Some([failing, unknown]) = verdicts.troubles.get_mut(verdict.check) else { continue };
            match verdict.status {
                Status::Pass => {}
                Status::Fail => *failing += 1,
                Status::Unknown => *unknown += 1,
            }
        }
    }
}

impl Judged {
    fn breaches(&self, now: Timestamp) -> impl Iterator<Item = Breach> {
        self.broken.iter().filter_map(move |Broken { check, rule, replica }| {
            let replica = replica.and_then(|place| self.database.replicas.get(place));
            let subject = match replica {
                None => Subject::Database(&self.database),
                Some(replica) => Subject::Replica(&self.database, replica),
            };
            let value = rule.when.value(subject, now)?;
            let (database, replica) = (Arc::clone(&self.database), replica.map(|replica| replica.name.clone()));
            Some(Breach { check, severity: rule.severity, database, replica, value })
        })
    }
}

fn is_on_database(check: &Check) -> bool {
    matches!(check.scope(), Scope::Database | Scope::Replica)
}

/// The rules that hold of a database and its replicas, also of checks that have nothing to say.
fn broken(database: &DatabaseReport, now: Timestamp) -> Vec<Broken> {
    let replicas = database.replicas.iter().enumerate();
    let replicas = replicas.map(|(place, replica)| (Some(place), Subject::Replica(database, replica)));
    let subjects: Vec<_> = std::iter::once((None, Subject::Database(database))).chain(replicas).collect();
    let mut broken = Vec::new();
    for check in catalogue().filter(|check| is_on_database(check)) {
        let its = subjects.iter().filter(|(replica, _)| replica.is_some() == (check.scope() == Scope::Replica));
        for (replica, subject) in its {
            let holding = check.rules.iter().filter(|rule| rule.when.value(*subject, now).is_some());
            broken.extend(holding.map(|rule| Broken { check: check.name, rule, replica: *replica }));
        }
    }
    broken
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
    let mut verdicts: Vec<Verdict> = catalogue().flat_map(on).collect();
    share_names(&mut verdicts);
    verdicts
}

/// What was made of a database the last time, if that is the same value in memory: both are in the order of the names, which
/// are only compared where something changed.
pub fn unchanged<T>(
    last: &mut Peekable<impl Iterator<Item = T>>,
    database: &Arc<DatabaseReport>,
    of: impl Fn(&T) -> &Arc<DatabaseReport>,
) -> Option<T> {
    let same = |known: &T| Arc::ptr_eq(of(known), database);
    last.next_if(same).or_else(|| {
        while last.next_if(|known| of(known).name < database.name).is_some() {}
        last.next_if(same)
    })
}

/// Forgets what is not kept, and keeps once what they have in common with those on another database.
fn shorten(verdicts: &mut [Verdict], alike: &[Verdict]) {
    for verdict in verdicts.iter_mut() {
        verdict.database = None;
        if verdict.status == Status::Pass {
            verdict.detail = Arc::default();
        }
    }
    for (verdict, other) in verdicts.iter_mut().zip(alike) {
        if verdict.detail == other.detail {
            verdict.detail = Arc::clone(&other.detail);
        }
        if verdict.replica == other.replica {
            verdict.replica.clone_from(&other.replica);
        }
    }
}

impl Judgement {
    /// The verdicts in full, as they were when they were made.
    pub fn told(&self, database: &DatabaseReport) -> Vec<Verdict> {
        let all = on_database(database, self.at, self.watching);
        let name: Arc<str> = database.name.as_str().into();
        let full = |verdict: &Verdict| {
            let same = |other: &&Verdict| (other.check, &other.replica) == (verdict.check, &verdict.replica);
            let detail = all.iter().find(same).filter(|_| verdict.detail.is_empty()).map(|made| &made.detail);
            let detail = Arc::clone(detail.unwrap_or(&verdict.detail));
            Verdict { database: Some(Arc::clone(&name)), detail, ..verdict.clone() }
        };
        self.iter().map(full).collect()
    }
}

/// Keeps each name once, as many verdicts have it.
fn share_names(verdicts: &mut [Verdict]) {
    let mut names: Vec<Arc<str>> = Vec::new();
    for name in verdicts.iter_mut().flat_map(|verdict| [&mut verdict.database, &mut verdict.replica]).flatten() {
        match names.iter().find(|known| *known == name) {
            Some(known) => *name = Arc::clone(known),
            None => names.push(Arc::clone(name)),
        }
    }
}

/// Judges the agent itself: each check is one verdict, that of the worst of its subjects.
pub(super) fn on_agent(assessment: &Assessment, now: Timestamp, watching: Watching) -> Vec<Verdict> {
    let of_agent = catalogue().filter(|check| !is_on_database(check));
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
        assert_eq!(second.databases.len(), 2);
        assert_eq!(second.databases[0].at, sample::now(), "as it was judged first");
        assert_ne!(first.databases[2].verdicts, second.databases[1].verdicts);
        let told = second.databases[1].told(&assessment.databases[1]);
        assert!(told.iter().all(|verdict| verdict.database.as_deref() == Some("c")));
    }
}
