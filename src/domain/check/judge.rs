//! Judging: what every check says of everything that was assessed, at one instant.

use std::collections::BTreeMap;
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
    /// On how many of them each check fails, and is unknown.
    troubles: BTreeMap<&'static str, [usize; 2]>,
}

/// A database with the verdicts on it.
#[derive(Debug)]
struct Judged {
    database: Arc<DatabaseReport>,
    verdicts: Judgement,
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
        let checks = catalogue().filter(|check| is_on_database(check));
        Self {
            watching,
            last: Vec::new(),
            alike: Arc::default(),
            troubles: checks.map(|check| (check.name, [0, 0])).collect(),
        }
    }

    /// The verdicts of all checks on everything.
    pub fn judge(&mut self, assessment: &Assessment, now: Timestamp) -> Verdicts {
        let mut last = std::mem::take(&mut self.last).into_iter().peekable();
        self.last.reserve_exact(assessment.databases.len());
        let mut newest: Option<Judgement> = None;
        for database in &assessment.databases {
            let known = loop {
                match last.peek() {
                    Some(known) if Arc::ptr_eq(&known.database, database) => break last.next(),
                    // It is gone, or another value now. Names are only compared where something changed.
                    Some(known) if known.database.name <= database.name => {
                        last.next().into_iter().for_each(|known| self.count(&known.verdicts, |count| *count -= 1));
                    }
                    _ => break None,
                }
            };
            let judged = known.unwrap_or_else(|| {
                let (mut verdicts, broken) = examine(database, now, self.watching, &self.alike);
                verdicts.iter_mut().for_each(shorten);
                if verdicts[..] != self.alike[..] {
                    (self.alike, newest) = (verdicts.into(), None);
                }
                let holds = !broken.is_empty();
                let same = newest.take_if(|made| made.holds() == holds);
                let make = || Judgement::new(Arc::clone(&self.alike), now, self.watching, holds);
                let verdicts = newest.insert(same.unwrap_or_else(make)).clone();
                self.count(&verdicts, |count| *count += 1);
                Judged { database: Arc::clone(database), verdicts, broken }
            });
            self.last.push(judged);
        }
        last.for_each(|known| self.count(&known.verdicts, |count| *count -= 1));
        Verdicts {
            databases: self.last.iter().map(|judged| judged.verdicts.clone()).collect(),
            agent: self.judge_agent(assessment, now),
            breaches: self.last.iter().flat_map(|judged| judged.breaches(now)).collect(),
            troubles: self.troubles.clone(),
        }
    }

    /// The verdicts of the checks on the agent itself.
    pub fn judge_agent(&self, assessment: &Assessment, now: Timestamp) -> Vec<Verdict> {
        on_agent(assessment, now, self.watching)
    }

    /// Counts the verdicts on a database that do not pass.
    fn count(&mut self, verdicts: &[Verdict], count: impl Fn(&mut usize)) {
        for verdict in verdicts.iter().filter(|verdict| verdict.status != Status::Pass) {
            let Some([failing, unknown]) = self.troubles.get_mut(verdict.check) else { continue };
            count(if verdict.status == Status::Fail { failing } else { unknown });
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

/// Judges one database and its replicas, and says which rules hold, also of checks that have nothing to say. What is said is
/// kept once with what verdicts on another one have in common.
fn examine(
    database: &DatabaseReport,
    now: Timestamp,
    watching: Watching,
    alike: &[Verdict],
) -> (Vec<Verdict>, Vec<Broken>) {
    let name: Arc<str> = database.name.as_str().into();
    // Replicas are mostly called the same.
    let known: Option<&Arc<str>> = alike.iter().find_map(|verdict| verdict.replica.as_ref());
    let replicas: Vec<(Option<usize>, Option<Arc<str>>, Subject<'_>)> = (0..)
        .zip(&database.replicas)
        .map(|(place, replica)| {
            let known = known.filter(|known| ***known == *replica.name);
            let name = known.map_or_else(|| replica.name.as_str().into(), Arc::clone);
            (Some(place), Some(name), Subject::Replica(database, replica))
        })
        .collect();
    let own = [(None, None, Subject::Database(database))];
    let (mut verdicts, mut broken) = (Vec::with_capacity(alike.len()), Vec::new());
    let mut holding = Vec::new();
    for check in catalogue() {
        let subjects = match check.scope() {
            Scope::Database => &own[..],
            Scope::Replica => &replicas[..],
            // Those of the agent itself.
            _ => continue,
        };
        for (place, replica, subject) in subjects {
            holding.clear();
            holding.extend(check.holding(*subject, now));
            broken.extend(holding.iter().map(|rule| Broken { check: check.name, rule, replica: *place }));
            let names = [Some(Arc::clone(&name)), replica.clone()];
            let other = alike.get(verdicts.len());
            verdicts.extend(check.conclude(*subject, &holding, (now, watching), names, other));
        }
    }
    (verdicts, broken)
}

/// Judges one database and its replicas.
#[cfg(test)]
pub(super) fn on_database(database: &DatabaseReport, now: Timestamp, watching: Watching) -> Vec<Verdict> {
    examine(database, now, watching, &[]).0
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

/// Forgets what can be made again.
fn shorten(verdict: &mut Verdict) {
    verdict.database = None;
    if verdict.status == Status::Pass {
        verdict.detail = Arc::default();
    }
}

impl Judgement {
    /// Those of the verdicts that are wanted, in full, as they were when they were made.
    pub fn told(&self, database: &DatabaseReport, wanted: impl Fn(&Verdict) -> bool) -> Vec<Verdict> {
        let name: Arc<str> = database.name.as_str().into();
        let detail = |verdict: &Verdict| {
            let subject = match verdict.replica.as_deref() {
                Some(name) => {
                    Subject::Replica(database, database.replicas.iter().find(|replica| replica.name == name)?)
                }
                None => Subject::Database(database),
            };
            catalogue().find(|check| check.name == verdict.check)?.passing(subject, self.made())
        };
        let full = |verdict: &Verdict| {
            let forgotten = verdict.detail.is_empty();
            let detail = if forgotten { detail(verdict).unwrap_or_default() } else { Arc::clone(&verdict.detail) };
            Verdict { database: Some(Arc::clone(&name)), detail, ..verdict.clone() }
        };
        self.iter().filter(|verdict| wanted(verdict)).map(full).collect()
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
        assert_eq!(second.databases[0].made().0, sample::now(), "as it was judged first");
        assert_ne!(first.databases[2][..], second.databases[1][..]);
        for (database, verdicts) in assessment.databases.iter().zip(&second.databases) {
            let (at, watching) = verdicts.made();
            assert_eq!(verdicts.told(database, |_| true), on_database(database, at, watching), "{}", database.name);
        }
        // What is counted from one assessment to the next is what is counted of all at once.
        for (check, troubles) in &second.troubles {
            let of = |status| {
                let verdicts = second.databases.iter().flat_map(|verdicts| verdicts.iter());
                verdicts.filter(|verdict| verdict.check == *check && verdict.status == status).count()
            };
            assert_eq!(*troubles, [of(Status::Fail), of(Status::Unknown)], "{check}");
        }
        assert_ne!(second.troubles, first.troubles);
    }
}
