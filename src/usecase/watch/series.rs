//! How many series are served, kept to a limit: what is served of databases is reduced until the rest fits.

use std::iter::{once, repeat};
use std::sync::Arc;

use crate::domain::assessment::{Assessment, DURATION_BOUNDS, DatabaseReport, Reduced, SeriesReport};
use crate::domain::check::unchanged;
use crate::domain::number::agent::{CHECK_BREACH, CHECK_STATUS};
use crate::domain::number::{self, Number, Read, Scope, Subject, Value};
use crate::domain::profile::{Profile, Selection};
use crate::domain::verdict::{Severity, Verdict, Verdicts};

/// Without any of databases, and with each profile at most.
type Counts = [usize; 4];

/// Series that every report has, whatever is watched: of alerts one for each severity in each of four states, three of the
/// limit itself, when the report was made, how many alerts were dropped, and three of all replicas together.
const OF_REPORT: usize = 4 * Severity::ALL.len() + 3 + 1 + 1 + 3;

/// Counts the series of one assessment after the other.
#[derive(Debug, Default)]
pub(super) struct SeriesLimit {
    /// By which the databases were counted.
    selection: Arc<Selection>,
    /// In the order of their names, with what checks say of them.
    counted: Vec<(Arc<DatabaseReport>, Counts)>,
    /// The place of what is served, which is not the last one while it is reduced, and the limit that it keeps to.
    served: Option<(usize, usize)>,
}

impl SeriesLimit {
    /// Reduces what is served of an assessment, of which these are the verdicts, until it keeps to the limit.
    pub(super) fn keep(&mut self, limit: usize, assessment: &mut Assessment, verdicts: &Verdicts) {
        let counts = self.count(assessment, verdicts);
        let last = counts.len() - 1;
        let before = self.served.filter(|(_, kept)| *kept == limit);
        let served = before.map_or(last, |(place, _)| place);
        // What is reduced stays so until there is some room, so that series do not come and go.
        let fits = |place: &usize| {
            let room = if *place > served && counts[*place] > counts[served] { limit - limit / 10 } else { limit };
            counts[*place] <= room
        };
        let found = (0..=last).rev().find(fits).unwrap_or(0);
        let reduced = match found {
            _ if counts[found] == counts[last] => Reduced::No,
            0 => Reduced::Shed,
            place => Reduced::To(Profile::ALL[place - 1]),
        };
        let series = SeriesReport { limit, configured: counts[last], served: counts[found], reduced };
        if self.served.map_or(last, |(place, _)| place) != found {
            tell(series);
        }
        self.served = Some((found, limit));
        assessment.agent.series = Some(series);
        Arc::make_mut(&mut assessment.selection).most = most(found);
    }

    fn count(&mut self, assessment: &Assessment, verdicts: &Verdicts) -> Counts {
        if self.selection != assessment.selection {
            (self.selection, self.counted) = (Arc::clone(&assessment.selection), Vec::new());
        }
        let selections: [Selection; 4] =
            std::array::from_fn(|place| Selection { most: most(place), ..(*self.selection).clone() });
        let mut known = std::mem::take(&mut self.counted).into_iter().peekable();
        self.counted.reserve_exact(assessment.databases.len());
        let judged = verdicts.databases.iter().map(|judgement| &**judgement).chain(repeat(&[][..]));
        for (database, verdicts) in assessment.databases.iter().zip(judged) {
            // The same verdicts come with the same value in memory.
            let same = unchanged(&mut known, database, |(known, _)| known);
            let count = || (Arc::clone(database), of_database(database, verdicts, &selections));
            self.counted.push(same.unwrap_or_else(count));
        }
        let own = of_agent(assessment, verdicts);
        std::array::from_fn(|place| {
            let of_databases: usize = self.counted.iter().map(|(_, counts)| counts[place]).sum();
            own + of_databases + of_breaches(verdicts, &selections[place])
        })
    }
}

/// The largest profile that is served of any database.
fn most(place: usize) -> Option<Profile> {
    place.checked_sub(1).and_then(|place| Profile::ALL.get(place).copied())
}

fn tell(series: SeriesReport) {
    let SeriesReport { limit, configured, served, reduced } = series;
    match reduced {
        Reduced::No => tracing::info!(served, limit, "metrics are served as configured"),
        Reduced::To(profile) => {
            let profile = profile.as_str();
            tracing::warn!(
                configured,
                served,
                limit,
                profile,
                "more series than series-limit: smaller profiles are served"
            );
        }
        Reduced::Shed => {
            tracing::error!(configured, served, limit, "more series than series-limit: no database is served");
        }
    }
}

fn of_database(database: &DatabaseReport, verdicts: &[Verdict], selections: &[Selection; 4]) -> Counts {
    let mut counts = Counts::default();
    for (count, selection) in counts.iter_mut().zip(selections) {
        *count = of_verdicts(database, verdicts, selection);
    }
    let subjects: Vec<Subject<'_>> = once(Subject::Database(database)).chain(Subject::replicas(database)).collect();
    for number in number::all().filter(|number| matches!(number.scope, Scope::Database | Scope::Replica)) {
        for subject in &subjects {
            // What is asked about the other kind of subject is unknown of this one.
            if (number.scope == Scope::Database) != matches!(subject, Subject::Database(_)) {
                continue;
            }
            let served = series(number, *subject);
            for (count, selection) in counts.iter_mut().zip(selections) {
                *count += if selection.wants(number, *subject) { served } else { 0 };
            }
        }
    }
    counts
}

/// What checks say of a database.
fn of_verdicts(database: &DatabaseReport, verdicts: &[Verdict], selection: &Selection) -> usize {
    match selection.wants(&CHECK_STATUS, Subject::Database(database)) {
        true if selection.wants_all(&CHECK_STATUS, database) => verdicts.len(),
        true => verdicts.iter().filter(|verdict| verdict.is_trouble()).count(),
        false => 0,
    }
}

/// The rules that hold of databases.
fn of_breaches(verdicts: &Verdicts, selection: &Selection) -> usize {
    let wanted = |database| selection.wants(&CHECK_BREACH, Subject::Database(database));
    verdicts.breaches.iter().filter(|breach| wanted(&breach.database)).count()
}

/// What is not about a database.
fn of_agent(assessment: &Assessment, verdicts: &Verdicts) -> usize {
    let of = |number: &'static Number| -> usize {
        match number.scope {
            Scope::Database | Scope::Replica => 0,
            scope => scope.subjects(assessment).map(|subject| series(number, subject)).sum(),
        }
    };
    let of_report = verdicts.agent.len() + 2 * verdicts.troubles.len() + OF_REPORT;
    of_report + number::all().map(of).sum::<usize>()
}

/// How many series a number has of a subject.
fn series(number: &Number, subject: Subject<'_>) -> usize {
    let of = |value: Option<Value<'_>>| match value {
        None => 0,
        Some(Value::Histogram(_)) => DURATION_BOUNDS.len() + 3,
        Some(_) => 1,
    };
    match number.read {
        Read::One(read) => of(read(subject)),
        Read::Several(read) => {
            let mut count = 0;
            read(subject, &mut |_, value| count += of(value));
            count
        }
        Read::OfReport(_) | Read::OfJudged(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assessment::Totals;
    use crate::domain::check::{Judge, Watching};
    use crate::domain::number::agent::{CHECKS, REDUCED, SERIES, SERIES_LIMIT};
    use crate::domain::report::sample;

    fn full(count: usize) -> Assessment {
        sample::report((0..count).map(|number| sample::drilled(&format!("app{number:03}"))).collect()).assessment
    }

    /// What is made of so many databases with a limit: how far it is reduced, and how many series are served.
    fn keep(limit: &mut SeriesLimit, most: usize, databases: usize) -> (Reduced, SeriesReport, Assessment) {
        let mut assessment = full(databases);
        let verdicts = Judge::new(Watching::Continuously).judge(&assessment, sample::now());
        limit.keep(most, &mut assessment, &verdicts);
        let series = assessment.agent.series.expect("counted");
        (series.reduced, series, assessment)
    }

    #[test]
    fn what_is_served_keeps_to_the_limit() {
        let reduced = |most| {
            let (reduced, series, assessment) = keep(&mut SeriesLimit::default(), most, 100);
            assert!(series.served <= most || reduced == Reduced::Shed, "{series:?}");
            let most = match reduced {
                Reduced::No => Some(Profile::Full),
                Reduced::To(profile) => Some(profile),
                Reduced::Shed => None,
            };
            assert_eq!(assessment.selection.most, most);
            reduced
        };
        assert_eq!(reduced(20_000), Reduced::No);
        assert_eq!(reduced(5_000), Reduced::To(Profile::Standard));
        assert_eq!(reduced(1_500), Reduced::To(Profile::Core));
        assert_eq!(reduced(1_000), Reduced::Shed);
    }

    #[test]
    fn what_every_report_has_is_counted() {
        let report = sample::everything();
        let agent = Subject::Agent(&report.assessment);
        let mut count: usize = [&SERIES, &SERIES_LIMIT, &REDUCED].map(|number| series(number, agent)).iter().sum();
        let totals = &Totals::of(report.assessment.databases.iter().map(|database| &**database));
        let apart = [CHECK_BREACH.name, CHECKS.name];
        for number in number::all().filter(|number| !apart.contains(&number.name)) {
            if let Read::OfReport(read) = number.read {
                read(&report, totals, &mut |_, value| count += usize::from(value.is_some()));
            }
        }
        assert_eq!(count, OF_REPORT);
    }

    #[test]
    fn what_is_reduced_stays_so_until_there_is_room() {
        let mut limit = SeriesLimit::default();
        let (.., all, _) = keep(&mut limit, 1_000_000, 20);
        assert_eq!(all.reduced, Reduced::No);
        let most = all.configured;
        let mut at = |most: usize, databases: usize| keep(&mut limit, most, databases).0;
        assert_eq!(at(most, 21), Reduced::To(Profile::Standard));
        assert_eq!(at(most, 20), Reduced::To(Profile::Standard), "it would just fit");
        assert_eq!(at(most, 17), Reduced::No);
        assert_eq!(at(most, 21), Reduced::To(Profile::Standard));
        assert_eq!(at(most + most / 20 + 1, 21), Reduced::No, "another limit");
    }

    #[test]
    fn what_did_not_change_is_not_counted_again() {
        let mut limit = SeriesLimit::default();
        let (.., assessment) = keep(&mut limit, 1_000_000, 3);
        let before = limit.counted[1].1;
        limit.counted[1].1[3] = 7;
        let verdicts = Verdicts::default();
        let counts = limit.count(&assessment, &verdicts);
        assert!(Arc::ptr_eq(&limit.counted[1].0, &assessment.databases[1]) && limit.counted[1].1[3] == 7);
        assert!(counts[3] < 3 * before[3] + 200);
    }
}
