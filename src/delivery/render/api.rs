//! Parts of the report as JSON: `/api/v1/`. Fields are only ever added; what is unknown is `null`.

use std::num::NonZero;

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::json;
use crate::delivery::asked::{Asked, Made, Problem};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::check::catalogue;
use crate::domain::history::{Point, RECORDED};
use crate::domain::limits::API_ROWS_MAX;
use crate::domain::reason::Reason;
use crate::domain::report::{Judged, Report, SCHEMA};
use crate::domain::timeline::TimelineReport;
use crate::domain::verdict::{Severity, Status, Verdict, Word};

/// The description of the API, docs/openapi.yaml, as it is in the program.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.yaml");

/// An answer: a part of a report.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "{T}Answer"))]
pub(crate) struct Document<T> {
    /// The version of the answer, raised when a field is removed or changes its meaning.
    schema: u32,
    /// The instant of the report.
    generated_at: Timestamp,
    #[serde(flatten)]
    content: T,
}

/// Databases as they are in the report, in the order of their names.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Databases<'a> {
    /// At most as many as `limit` says.
    databases: Vec<Judged<'a>>,
    /// The value of `after` that gives the following ones; `None` at the end.
    next: Option<&'a str>,
}

/// What each check says.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Checks<'a> {
    /// In the order of the databases; those on the agent come last.
    checks: Vec<Verdict>,
    /// The value of `after` that gives the checks of the following databases; `None` at the end.
    next: Option<&'a str>,
}

/// The alerts that the agent remembers.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Alerts<'a> {
    /// Pending, firing, and those that ended a little while ago.
    alerts: Vec<&'a Alert>,
    /// How many more there are than the agent remembers.
    alerts_dropped: usize,
}

/// To which points in time replicas can be restored.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Restorable<'a> {
    /// In the order of the databases.
    replicas: Vec<RestorableReplica<'a>>,
    /// The value of `after` that gives the replicas of the following databases; `None` at the end.
    next: Option<&'a str>,
}

/// To which points in time one replica can be restored.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RestorableReplica<'a> {
    /// The name of the database.
    database: &'a str,
    /// The name of the replica.
    replica: &'a str,
    /// The newest instant of which it is proven that all that was committed before it is in the bucket.
    recovery_point: Option<Timestamp>,
    /// There is a snapshot (or a chain from the start) from which something restores; `None` until something was listed.
    restorable: Option<bool>,
    /// To which instants it can be restored; `None` until everything was listed.
    timeline: Option<&'a TimelineReport>,
}

/// How a number of a database went, or of one of its replicas.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct History<'a> {
    /// The name of the database.
    database: &'a str,
    /// The name of the replica; `None` for a number of the database itself.
    replica: Option<&'a str>,
    /// The name of the metric, whose last words are the unit of the values.
    metric: &'static str,
    /// Since when anything is known of how the database went; `None`: nothing is.
    since: Option<Timestamp>,
    /// Oldest first; each value holds until the next one, and the last one still holds.
    points: Vec<Sample>,
}

/// A value that holds until the next one, with the lowest and the highest that are summed up in it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Sample {
    /// When the value began to hold.
    at: Timestamp,
    /// In the unit of the metric; `None`: it became unknown, which is a gap.
    value: Option<f64>,
    /// The lowest known value; `None`: it was unknown all the time.
    low: Option<f64>,
    /// The highest known value; `None`: it was unknown all the time.
    high: Option<f64>,
}

fn document(report: &Report, content: impl Serialize, link: Option<String>) -> Result<Made, Problem> {
    let failed = |reason: Reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, reason.message);
    let document = Document { schema: SCHEMA, generated_at: report.generated_at, content };
    Ok(Made { body: json::line(&document).map_err(failed)?.into_bytes(), link })
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

    /// Those of `all` that are wanted.
    fn take<'a>(&self, all: impl Iterator<Item = Judged<'a>>) -> Part<'a> {
        let named =
            |judged: &Judged<'_>| self.search.is_empty() || judged.database.name.to_lowercase().contains(&self.search);
        let (before, mut found): (Vec<_>, Vec<_>) =
            all.filter(named).partition(|judged| *judged.database.name <= *self.after);
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let name = |judged: &Judged<'a>| judged.database.name.as_str();
        let next = found.last().map(name).filter(|_| more);
        let previous = before.len().checked_sub(self.limit + 1).map(|last| name(&before[last]));
        Part { next, previous: (!before.is_empty()).then_some(previous), found }
    }
}

/// Some of the databases, and the names after which those next to them begin.
struct Part<'a> {
    found: Vec<Judged<'a>>,
    /// `None`: these are the last ones.
    next: Option<&'a str>,
    /// `None`: these are the first ones. `Some(None)`: those before begin with the first.
    previous: Option<Option<&'a str>>,
}

impl Part<'_> {
    /// The header `Link`. What it refers to is relative, so that it holds behind a proxy that serves this under another path.
    fn link(&self, asked: &Asked) -> Option<String> {
        let first = self.previous.map(|_| None);
        let all = [("first", first), ("prev", self.previous), ("next", self.next.map(Some))];
        let links = all
            .into_iter()
            .filter_map(|(relation, after)| Some(format!("<{}>; rel=\"{relation}\"", asked.with("after", after?))));
        Some(links.collect::<Vec<_>>().join(", ")).filter(|link| !link.is_empty())
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
pub fn databases(report: &Report, asked: &Asked) -> Result<Made, Problem> {
    let state = asked.one_of("state", &words(Word::ALL, Word::as_str))?;
    let all = report.judged().filter(|judged| state.is_none_or(|state| judged.word() == state));
    let part = Filter::of(asked)?.take(all);
    let link = part.link(asked);
    document(report, Databases { databases: part.found, next: part.next }, link)
}

/// `/api/v1/databases/{name}`: one database as it is in the report.
///
/// # Errors
///
/// When there is none of this name.
pub fn database(report: &Report, asked: &Asked) -> Result<Made, Problem> {
    document(report, found(report, &asked.name)?, None)
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
pub fn checks(report: &Report, asked: &Asked) -> Result<Made, Problem> {
    let names: Vec<_> = catalogue().map(|check| (check.name, check.name)).collect();
    let check = asked.one_of("check", &names)?;
    let status = asked.one_of("status", &words(Status::ALL, Status::as_str))?;
    let severity = asked.one_of("severity", &words(Severity::ALL, Severity::as_str))?;
    let filter = Filter::of(asked)?;
    let (part, agent) = match asked.get("database") {
        Some(name) => (Part { found: vec![found(report, name)?], next: None, previous: None }, None),
        None => {
            let part = filter.take(report.judged());
            let last = part.next.is_none();
            (part, last.then(|| report.verdicts.agent.clone()))
        }
    };
    let wanted = |verdict: &Verdict| {
        check.is_none_or(|check| verdict.check == check)
            && status.is_none_or(|status| verdict.status == status)
            && severity.is_none_or(|severity| verdict.severity == severity)
    };
    let agent = agent.into_iter().flatten().filter(wanted);
    let checks = part.found.iter().flat_map(|judged| judged.told(wanted)).chain(agent).collect();
    document(report, Checks { checks, next: part.next }, part.link(asked))
}

/// The parameters of [`alerts`].
pub const ALERTS: &[&str] = &["state", "severity"];

/// `/api/v1/alerts`: the alerts that the agent remembers, and how many it does not.
///
/// # Errors
///
/// Names a parameter whose value is not understood.
pub fn alerts(report: &Report, asked: &Asked) -> Result<Made, Problem> {
    let state = asked.one_of("state", &words(AlertState::ALL, AlertState::as_str))?;
    let severity = asked.one_of("severity", &words(Severity::ALL, Severity::as_str))?;
    let wanted = |alert: &&Alert| {
        state.is_none_or(|state| alert.state == state) && severity.is_none_or(|severity| alert.severity == severity)
    };
    let alerts = report.alerts.iter().map(|alert| &**alert).filter(wanted).collect();
    document(report, Alerts { alerts, alerts_dropped: report.alerts_dropped }, None)
}

/// The parameters of [`restorable`].
pub const RESTORABLE: &[&str] = &["q", "after", "limit"];

/// `/api/v1/restorable`: to which points in time each replica can be restored. `next` is as in [`databases`].
///
/// # Errors
///
/// Names a parameter whose value is not understood.
pub fn restorable(report: &Report, asked: &Asked) -> Result<Made, Problem> {
    let part = Filter::of(asked)?.take(report.judged());
    let replicas = part.found.iter().flat_map(|judged| {
        judged.database.replicas.iter().map(|replica| RestorableReplica {
            database: &judged.database.name,
            replica: &replica.name,
            recovery_point: replica.recovery_point,
            restorable: replica.coverage.as_ref().map(|coverage| coverage.restorable),
            timeline: replica.timeline.as_deref(),
        })
    });
    document(report, Restorable { replicas: replicas.collect(), next: part.next }, part.link(asked))
}

/// The parameters of [`history`].
pub const HISTORY: &[&str] = &["database", "replica", "metric", "from", "until"];

/// `/api/v1/history`: how a number of a database went, or of one of its replicas: the values that held at some instant from
/// `from` to `until`, of which the first may have begun to hold before.
///
/// # Errors
///
/// Names a parameter that is missing or whose value is not understood, and a database that is not there.
pub fn history(report: &Report, asked: &Asked) -> Result<Made, Problem> {
    let recorded: Vec<_> = RECORDED.iter().map(|number| (number.name, *number)).collect();
    let number = asked.one_of("metric", &recorded)?.ok_or_else(|| Problem::missing("metric"))?;
    let (from, until) = (asked.instant("from")?, asked.instant("until")?);
    if let Some((from, until)) = from.zip(until).filter(|(from, until)| from > until) {
        return Err(Problem::invalid("from", &format!("{from} is later than `until`, {until}")));
    }
    let judged = found(report, asked.get("database").ok_or_else(|| Problem::missing("database"))?)?;
    let (database, replica) = (judged.database.name.as_str(), asked.get("replica"));
    if let Some(name) = replica.filter(|name| !judged.database.replicas.iter().any(|known| known.name == *name)) {
        return Err(Problem::not_found("replica", name));
    }
    let points = report.history.series(database, replica, number);
    let begun = |at: Timestamp| points.partition_point(|point| point.at <= at);
    let range = from.map_or(0, |from| begun(from).saturating_sub(1))..until.map_or(points.len(), begun);
    let sample = |point: &Point| Sample { at: point.at, value: point.value, low: point.low, high: point.high };
    let points = points.get(range).unwrap_or_default().iter().map(sample).collect();
    let since = report.history.since(database);
    document(report, History { database, replica, metric: number.name, since, points }, None)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::Value;

    use super::*;
    use crate::domain::check::{Judge, Watching};
    use crate::domain::history::Recorder;
    use crate::domain::report::sample;

    type Answer = Result<Made, Problem>;

    /// Databases in the order of their names, as an agent has them.
    fn report() -> Report {
        let databases = vec![sample::healthy("app"), sample::pending("orders"), sample::unknown("zeta")];
        let mut report = Report { alerts: sample::full().alerts, ..sample::report(databases) };
        report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, report.generated_at);
        report
    }

    fn ask(answer: fn(&Report, &Asked) -> Answer, query: &str) -> Value {
        linked(answer, query).0
    }

    /// An answer with its `Link`. The size of "app" changed three times, ten minutes from the one to the other.
    fn linked(answer: fn(&Report, &Asked) -> Answer, query: &str) -> (Value, String) {
        let mut report = report();
        let mut recorder = Recorder::default();
        for change in 0..3 {
            let mut app = sample::healthy("app");
            app.local_mut().expect("a local database").size_bytes += change;
            let ago = SignedDuration::from_mins(20 - 10 * i64::try_from(change).expect("few"));
            recorder.record(&app, sample::now() - ago);
        }
        report.history = recorder.history();
        let Made { body, link } = answer(&report, &Asked::new("", query)).expect("answered");
        let json: Value = serde_json::from_slice(&body).expect("json");
        assert_eq!((json["schema"].as_u64(), json["generated_at"].is_string()), (Some(SCHEMA.into()), true));
        (json, link.unwrap_or_default())
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
        assert_eq!(size["points"].as_array().map(Vec::len), Some(3), "{size}");
        assert!(size["points"][0]["value"].as_f64() > Some(0.0), "{size}");
    }

    #[test]
    fn a_part_links_to_those_beside_it() {
        // app, orders, zeta
        for answer in [databases, checks, restorable] {
            let link = |query: &str| linked(answer, query).1;
            assert_eq!(link(""), "");
            assert_eq!(link("limit=3"), "", "these are all");
            assert_eq!(link("limit=1"), "<?limit=1&after=app>; rel=\"next\"");
            assert_eq!(
                link("limit=1&after=app"),
                "<?limit=1>; rel=\"first\", <?limit=1>; rel=\"prev\", <?limit=1&after=orders>; rel=\"next\""
            );
            assert_eq!(
                link("after=orders&limit=1"),
                "<?limit=1>; rel=\"first\", <?limit=1&after=app>; rel=\"prev\"",
                "the last one"
            );
            let beyond = linked(answer, "after=zzz&limit=2");
            assert_eq!(beyond.1, "<?limit=2>; rel=\"first\", <?limit=2&after=app>; rel=\"prev\"");
            assert!(beyond.0["next"].is_null());
        }
        assert_eq!(linked(databases, "state=critical&q=nothing&limit=1").1, "");
        assert_eq!(linked(checks, "database=app&limit=1").1, "", "one database is no part of others");
    }

    #[test]
    fn a_history_begins_and_ends_where_it_is_asked_to() {
        let size = |range: &str| {
            let asked = format!("database=app&metric=streamgauge_database_size_bytes{range}");
            let values = ask(history, &asked)["points"].clone();
            let extra = |point: &Value| point["value"].as_f64().map(|value| value as u64 - 1_048_576);
            values.as_array().expect("a list").iter().filter_map(extra).collect::<Vec<_>>()
        };
        let at = |minutes: i64| (sample::now() + SignedDuration::from_mins(minutes)).as_second();
        assert_eq!(size(""), [0, 1, 2]);
        assert_eq!(size(&format!("&from={}", at(-10))), [1, 2]);
        assert_eq!(size(&format!("&from={}", at(-11))), [0, 1, 2], "the first one held then");
        assert_eq!(size(&format!("&until={}", at(-10))), [0, 1]);
        assert_eq!(size(&format!("&from={}&until={0}", at(-5))), [1]);
        assert_eq!(size(&format!("&from={}", at(60))), [2], "the last one holds");
        assert_eq!(size(&format!("&from={}&until={}", at(-60), at(-30))), [0; 0], "nothing was known");
        assert_eq!(size("&from=2025-12-31T23:50:00Z&until=2026-01-01T00:00:00Z"), [1, 2]);
    }

    #[test]
    fn what_is_asked_wrongly_is_named() {
        let report = report();
        let refused = |answer: fn(&Report, &Asked) -> Answer, query: &str| {
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
        for wrong in ["from=x", "until=9e99", "from=%00", "from=2&until=1"] {
            // What can be seen without looking anything up is said first.
            let (status, detail) = refused(history, &format!("database=none&{metric}&{wrong}"));
            assert_eq!(status, 400, "{wrong}: {detail}");
        }
        assert_eq!(
            refused(history, &format!("database=app&{metric}&from=2&until=1")).1,
            "parameter \"from\": 1970-01-01T00:00:02Z is later than `until`, 1970-01-01T00:00:01Z"
        );
        assert_eq!(refused(history, &format!("database=none&{metric}&from=1")).0, 404);
        assert_eq!(refused(checks, "database=app&limit=0").0, 400);
        for name in ["\u{0}", "../../etc/passwd", "<script>", "\r\nx: y", "%", &"a".repeat(30_000)] {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("database", name).finish();
            assert_eq!(refused(checks, &query), (404, format!("there is no database {name:?}")));
            let part = databases(&report, &Asked::new("", &format!("limit=1&{}", query.replace("database", "after"))));
            let link = part.expect("answered").link.unwrap_or_default();
            assert!(link.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{link}");
        }
        let other = refused(history, &format!("database=app&replica=none&{metric}"));
        assert_eq!(other, (404, "there is no replica \"none\"".into()));
    }
}
