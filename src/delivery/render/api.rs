//! Parts of the report as JSON: `/api/v1/`. Fields are only ever added; what is unknown is `null`.

use std::num::NonZero;

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::json;
use crate::delivery::asked::{Asked, Problem};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::check::catalogue;
use crate::domain::history::RECORDED;
use crate::domain::limits::API_ROWS_MAX;
use crate::domain::reason::Reason;
use crate::domain::report::{Judged, Report, SCHEMA};
use crate::domain::timeline::TimelineReport;
use crate::domain::verdict::{Severity, Status, Verdict, Word};

/// A part of a report, and where the next one begins.
#[derive(Serialize)]
struct Document<T> {
    schema: u32,
    generated_at: Timestamp,
    #[serde(flatten)]
    content: T,
}

fn document(report: &Report, content: impl Serialize) -> Result<Vec<u8>, Problem> {
    let failed = |reason: Reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, reason.message);
    let document = Document { schema: SCHEMA, generated_at: report.generated_at, content };
    json::line(&document).map(String::into_bytes).map_err(failed)
}

/// What of the databases is wanted: those whose name contains `q`, after the name `after`, at most `limit`.
struct Filter {
    search: String,
    after: String,
    limit: usize,
}

impl Filter {
    fn of(asked: &Asked) -> Result<Self, Problem> {
        let text = |name| asked.get(name).unwrap_or_default().to_owned();
        let range = format!("a number from 1 to {API_ROWS_MAX}");
        let limit = asked.parsed::<NonZero<usize>>("limit", &range)?.map_or(API_ROWS_MAX, NonZero::get);
        if limit > API_ROWS_MAX {
            return Err(Problem::invalid("limit", &format!("{limit} is not {range}")));
        }
        Ok(Self { search: text("q").to_lowercase(), after: text("after"), limit })
    }

    /// Those of `all` that are wanted, and the name after which the next ones come.
    fn take<'a>(&self, all: impl Iterator<Item = Judged<'a>>) -> (Vec<Judged<'a>>, Option<&'a str>) {
        let wanted = |judged: &Judged<'_>| {
            let name = &judged.database.name;
            *name > self.after && (self.search.is_empty() || name.to_lowercase().contains(&self.search))
        };
        let mut all = all.filter(wanted);
        let found: Vec<_> = all.by_ref().take(self.limit).collect();
        let more = all.next().is_some();
        let last = found.last().map(|judged| judged.database.name.as_str());
        (found, last.filter(|_| more))
    }
}

/// The words of an enumeration, each with its variant.
fn words<T: Copy>(all: &'static [T], word: fn(T) -> &'static str) -> Vec<(&'static str, T)> {
    all.iter().map(|variant| (word(*variant), *variant)).collect()
}

/// The parameters of [`databases`].
pub const DATABASES: &[&str] = &["state", "q", "after", "limit"];

/// `/api/v1/databases`: databases as they are in the report, in the order of their names. `next` is the value of `after`
/// that gives the following ones.
///
/// # Errors
///
/// Names a parameter whose value is not understood.
pub fn databases(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct Databases<'a> {
        databases: Vec<Judged<'a>>,
        next: Option<&'a str>,
    }
    let state = asked.one_of("state", &words(Word::ALL, Word::as_str))?;
    let all = report.judged().filter(|judged| state.is_none_or(|state| judged.word() == state));
    let (databases, next) = Filter::of(asked)?.take(all);
    document(report, Databases { databases, next })
}

/// `/api/v1/databases/{name}`: one database as it is in the report.
///
/// # Errors
///
/// When there is none of this name.
pub fn database(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    document(report, found(report, &asked.name)?)
}

fn found<'a>(report: &'a Report, name: &str) -> Result<Judged<'a>, Problem> {
    report.database(name).ok_or_else(|| Problem::not_found("database", name))
}

/// The parameters of [`checks`].
pub const CHECKS: &[&str] = &["status", "severity", "check", "database", "after", "limit"];

/// `/api/v1/checks`: what each check says, of as many databases as [`databases`] gives, and with the last of them of the
/// agent and what it uses. `next` is as there.
///
/// # Errors
///
/// Names a parameter whose value is not understood.
pub fn checks(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct Checks<'a> {
        checks: Vec<&'a Verdict>,
        next: Option<&'a str>,
    }
    let names: Vec<_> = catalogue().map(|check| (check.name, check.name)).collect();
    let check = asked.one_of("check", &names)?;
    let status = asked.one_of("status", &words(Status::ALL, Status::as_str))?;
    let severity = asked.one_of("severity", &words(Severity::ALL, Severity::as_str))?;
    let (databases, next, agent) = match asked.get("database") {
        Some(name) => (vec![found(report, name)?], None, None),
        None => {
            let (databases, next) = Filter::of(asked)?.take(report.judged());
            (databases, next, next.is_none().then_some(&report.verdicts.agent))
        }
    };
    let wanted = |verdict: &&Verdict| {
        check.is_none_or(|check| verdict.check == check)
            && status.is_none_or(|status| verdict.status == status)
            && severity.is_none_or(|severity| verdict.severity == severity)
    };
    let all = databases.iter().flat_map(|judged| judged.checks).chain(agent.into_iter().flatten());
    document(report, Checks { checks: all.filter(wanted).collect(), next })
}

/// The parameters of [`alerts`].
pub const ALERTS: &[&str] = &["state", "severity"];

/// `/api/v1/alerts`: the alerts that the agent remembers, and how many it does not.
///
/// # Errors
///
/// Names a parameter whose value is not understood.
pub fn alerts(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct Alerts<'a> {
        alerts: Vec<&'a Alert>,
        alerts_dropped: usize,
    }
    let state = asked.one_of("state", &words(AlertState::ALL, AlertState::as_str))?;
    let severity = asked.one_of("severity", &words(Severity::ALL, Severity::as_str))?;
    let wanted = |alert: &&Alert| {
        state.is_none_or(|state| alert.state == state) && severity.is_none_or(|severity| alert.severity == severity)
    };
    let alerts = report.alerts.iter().map(|alert| &**alert).filter(wanted).collect();
    document(report, Alerts { alerts, alerts_dropped: report.alerts_dropped })
}

/// The parameters of [`restorable`].
pub const RESTORABLE: &[&str] = &["q", "after", "limit"];

/// `/api/v1/restorable`: to which points in time each replica can be restored. `next` is as in [`databases`].
///
/// # Errors
///
/// Names a parameter whose value is not understood.
pub fn restorable(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct Restorable<'a> {
        replicas: Vec<Replica<'a>>,
        next: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Replica<'a> {
        database: &'a str,
        replica: &'a str,
        recovery_point: Option<Timestamp>,
        restorable: Option<bool>,
        timeline: Option<&'a TimelineReport>,
    }
    let (found, next) = Filter::of(asked)?.take(report.judged());
    let replicas = found.iter().flat_map(|judged| {
        judged.database.replicas.iter().map(|replica| Replica {
            database: &judged.database.name,
            replica: &replica.name,
            recovery_point: replica.recovery_point,
            restorable: replica.coverage.as_ref().map(|coverage| coverage.restorable),
            timeline: replica.timeline.as_deref(),
        })
    });
    document(report, Restorable { replicas: replicas.collect(), next })
}

/// The parameters of [`history`].
pub const HISTORY: &[&str] = &["database", "replica", "metric"];

/// `/api/v1/history`: how a number of a database went, or of one of its replicas.
///
/// # Errors
///
/// Names a parameter that is missing or whose value is not understood, and a database that is not there.
pub fn history(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct History<'a> {
        database: &'a str,
        replica: Option<&'a str>,
        metric: &'static str,
        since: Option<Timestamp>,
        points: Vec<Sample>,
    }
    /// A value that holds until the next one, with the lowest and the highest that are summed up in it.
    #[derive(Serialize)]
    struct Sample {
        at: Timestamp,
        value: Option<f64>,
        low: Option<f64>,
        high: Option<f64>,
    }
    let recorded: Vec<_> = RECORDED.iter().map(|number| (number.name, *number)).collect();
    let number = asked.one_of("metric", &recorded)?.ok_or_else(|| Problem::missing("metric"))?;
    let judged = found(report, asked.get("database").ok_or_else(|| Problem::missing("database"))?)?;
    let (database, replica) = (judged.database.name.as_str(), asked.get("replica"));
    if let Some(name) = replica.filter(|name| !judged.database.replicas.iter().any(|known| known.name == *name)) {
        return Err(Problem::not_found("replica", name));
    }
    let points = report.history.series(database, replica, number).into_iter();
    let points = points.map(|point| Sample { at: point.at, value: point.value, low: point.low, high: point.high });
    let since = report.history.since(database);
    document(report, History { database, replica, metric: number.name, since, points: points.collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::check::{Judge, Watching};
    use crate::domain::history::Recorder;
    use crate::domain::report::sample;

    type Answer = Result<Vec<u8>, Problem>;

    /// Databases in the order of their names, as an agent has them.
    fn report() -> Report {
        let databases = vec![sample::healthy("app"), sample::pending("orders"), sample::unknown("zeta")];
        let mut report = Report { alerts: sample::full().alerts, ..sample::report(databases) };
        report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, report.generated_at);
        report
    }

    fn ask(answer: fn(&Report, &Asked) -> Answer, query: &str) -> Value {
        let mut report = report();
        let mut recorder = Recorder::default();
        recorder.record(&sample::healthy("app"), sample::now());
        report.history = recorder.history();
        let answer = answer(&report, &Asked::new("", query)).expect("answered");
        let json: Value = serde_json::from_slice(&answer).expect("json");
        assert_eq!((json["schema"].as_u64(), json["generated_at"].is_string()), (Some(SCHEMA.into()), true));
        json
    }

    fn names(json: &Value) -> Vec<&str> {
        json["databases"].as_array().expect("a list").iter().filter_map(|database| database["name"].as_str()).collect()
    }

    #[test]
    fn databases_come_in_pages_of_which_each_says_where_the_next_begins() {
        let all = ask(databases, "");
        assert!(names(&all).len() > 2 && all["next"].is_null());
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = ask(databases, &format!("limit=1&after={after}"));
            seen.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            next.clone_into(&mut after);
        }
        assert_eq!(seen, names(&all));
        let found = ask(databases, &format!("q={}", seen[0].to_uppercase()));
        assert!(names(&found).contains(&seen[0].as_str()), "{found}");
        let states: usize =
            Word::ALL.iter().map(|word| names(&ask(databases, &format!("state={}", word.as_str()))).len()).sum();
        assert_eq!(states, seen.len());
    }

    #[test]
    fn checks_and_alerts_are_filtered() {
        let count = |json: &Value, list: &str| json[list].as_array().expect("a list").len();
        let all = count(&ask(checks, ""), "checks");
        let parts: usize = Status::ALL
            .iter()
            .map(|status| count(&ask(checks, &format!("status={}", status.as_str())), "checks"))
            .sum();
        assert_eq!(parts, all);
        let lag = ask(checks, "check=ReplicationLag&database=app");
        assert!(
            lag["checks"]
                .as_array()
                .expect("a list")
                .iter()
                .all(|row| row["check"] == "ReplicationLag" && row["database"] == "app")
        );
        let all = count(&ask(alerts, ""), "alerts");
        let parts: usize = AlertState::ALL
            .iter()
            .map(|state| count(&ask(alerts, &format!("state={}", state.as_str())), "alerts"))
            .sum();
        assert!(all > 0 && parts == all);
    }

    #[test]
    fn what_is_restorable_and_how_it_went_is_told_of_each_replica() {
        let replicas = ask(restorable, "q=app");
        assert!(
            replicas["replicas"].as_array().expect("a list").iter().any(|row| row["timeline"]["spans"].is_array()),
            "{replicas}"
        );
        let size = ask(history, "database=app&metric=streamgauge_database_size_bytes");
        assert_eq!(size["points"].as_array().map(Vec::len), Some(1), "{size}");
        assert!(size["points"][0]["value"].as_f64() > Some(0.0), "{size}");
    }

    #[test]
    fn what_is_asked_wrongly_is_named() {
        let report = report();
        let refused = |answer: fn(&Report, &Asked) -> Answer, query| {
            let problem = answer(&report, &Asked::new("", query)).expect_err("refused");
            (problem.status.as_u16(), problem.detail)
        };
        let expected = "parameter \"state\": \"x\" is none of ";
        assert!(
            refused(databases, "state=x").1.starts_with(expected) && refused(alerts, "state=x").1.starts_with(expected)
        );
        assert_eq!(
            refused(databases, "limit=x"),
            (400, "parameter \"limit\": \"x\" is not a number from 1 to 1000".into())
        );
        for limit in ["limit=0", "limit=1001"] {
            assert_eq!(refused(databases, limit).0, 400);
        }
        assert_eq!(refused(checks, "database=none"), (404, "there is no database \"none\"".into()));
        let metric = "metric=streamgauge_database_size_bytes";
        assert_eq!(refused(history, metric), (400, "parameter \"database\" is missing".into()));
        assert_eq!(refused(history, "database=app"), (400, "parameter \"metric\" is missing".into()));
        let other = refused(history, &format!("database=app&replica=none&{metric}"));
        assert_eq!(other, (404, "there is no replica \"none\"".into()));
    }
}
