//! `streamgauge why`: what a check means, what it says right now, and what to do, with nothing but this program.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::Value;

use super::args::SourceArgs;
use super::runtime::block_on;
use super::sources::Sources;
use super::{check, output};
use crate::delivery::render::json::json;
use crate::delivery::render::runbook;
use crate::delivery::render::terminal::painted;
use crate::domain::alert::untold;
use crate::domain::check::{Check, catalogue};
use crate::domain::human;
use crate::domain::limits::EVIDENCE_LINES_MAX;
use crate::domain::naming::known_databases;
use crate::domain::number::Scope;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::SCHEMA;
use crate::domain::verification::VerifyDepth;
use crate::infrastructure::agent::{address_of, fetch_report, shown};

pub const AFTER_HELP: &str = "\
What the check says right now comes from the agent if one answers, and otherwise from one look like that of \
`streamgauge check`. The runbook is part of this program and needs neither.

Without CHECK, all checks are listed. They have the names of their alerts; upper and lower case do not matter.

Exit code: 0, whatever the check says; 2 if there is no such check or database.

Examples:
  streamgauge why ReplicationLag
  streamgauge why replicagap orders
  streamgauge why HostGone --url http://10.0.0.7:10099
  streamgauge why ReplicaGap --url https://user:password@backup.internal:10099";

#[derive(Args, Debug)]
pub struct WhyArgs {
    /// The check, by the name of its alert [default: list all]
    #[arg(value_name = "CHECK", value_parser = names(), ignore_case = true, hide_possible_values = true)]
    pub check: Option<String>,

    /// Only what it says about this database, by name or path [default: all]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    /// The agent to ask: http://host:port, https://user:password@host:port or unix:/path [default: web.listen-address as configured, otherwise http://127.0.0.1:10099]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    #[command(flatten)]
    pub sources: SourceArgs,
}

fn names() -> PossibleValuesParser {
    catalogue().map(|check| PossibleValue::new(check.name).help(check.title)).into()
}

/// Prints evidence and runbook.
///
/// # Errors
///
/// When there is no such database, and when standard output cannot be written. What keeps evidence away is said in its place.
pub fn main(args: &WhyArgs) -> Result<ExitCode, Reason> {
    let Some(name) = &args.check else {
        output::print(&list())?;
        return Ok(ExitCode::SUCCESS);
    };
    let check = catalogue().find(|check| check.name.eq_ignore_ascii_case(name));
    let check = check.ok_or_else(|| Reason::new(ReasonKind::NotFound, format!("{name}: no such check")))?;
    let colour = output::colour();
    let severities: Vec<&str> = check.rules.iter().map(|rule| rule.severity.as_str()).collect();
    let name = painted(colour, "1", check.name);
    let mut text = format!("{name} ({}): {}\n\n", severities.join(", "), check.title);
    match evidence(args, check) {
        Ok(lines) => text.push_str(&lines),
        Err(NoEvidence::NoDatabase(reason)) => return Err(reason),
        Err(NoEvidence::Unseen(reason)) => {
            let _ = writeln!(text, "Right now: no evidence. {reason}");
        }
    }
    text.push('\n');
    match runbook::section(check.name) {
        Some(section) => text.push_str(&runbook::on_terminal(section, colour)),
        None => text.extend([check.action, "\n"]),
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// All checks, a line each.
fn list() -> String {
    let width = catalogue().map(|check| check.name.len()).max().unwrap_or(0);
    catalogue().map(|check| format!("{:width$}  {}\n", check.name, check.title)).collect()
}

/// Why there is no evidence.
enum NoEvidence {
    /// There is no database that goes by what was asked for.
    NoDatabase(Reason),
    Unseen(Reason),
}

impl From<Reason> for NoEvidence {
    fn from(reason: Reason) -> Self {
        Self::Unseen(reason)
    }
}

/// The evidence of a check right now, from the agent or from a look.
fn evidence(args: &WhyArgs, check: &Check) -> Result<String, NoEvidence> {
    let sources = Sources::new(&args.sources);
    // Of another agent than the one that is configured, nothing is said.
    let address = match &args.url {
        Some(url) => url.clone(),
        None => address_of(&sources.settings()?.web),
    };
    let database = args.database.as_deref();
    let silent = match block_on(fetch_report(&address))? {
        Ok(body) => {
            let address = shown(&address);
            let report = read(&body).map_err(|reason| reason.context(format_args!("read the report of {address}")))?;
            return told(&report, check, database, &format!("the agent at {address}")).map_err(NoEvidence::NoDatabase);
        }
        Err(reason) => reason,
    };
    if check.scope() == Scope::Outside {
        let ask = format!("Prometheus knows: ALERTS{{alertname=\"{}\"}}. No agent answers here: {silent}", check.name);
        return Err(Reason::new(ReasonKind::NotFound, ask).into());
    }
    if args.url.is_some() || !matches!(check.scope(), Scope::Database | Scope::Replica) {
        return Err(silent.into());
    }
    let databases: Vec<String> = database.map(str::to_owned).into_iter().collect();
    let looked = check::look(&args.sources, &databases, VerifyDepth::Structure, Duration::from_secs(5));
    let looked = looked.map_err(|reason| match reason.kind {
        ReasonKind::NotFound if !databases.is_empty() => NoEvidence::NoDatabase(reason),
        _ => reason.context(format_args!("{silent}; look instead")).into(),
    })?;
    let report = read(json(&looked.report)?.as_bytes())?;
    told(&report, check, None, "one look; no agent answers").map_err(NoEvidence::NoDatabase)
}

/// A report in the form of the JSON API, which another version may have written.
fn read(body: &[u8]) -> Result<Value, Reason> {
    let report = serde_json::from_slice(body).ok().filter(|report: &Value| report["schema"] == SCHEMA);
    report.ok_or_else(|| {
        let reason = Reason::new(ReasonKind::Corrupt, format!("not a report of this version (schema {SCHEMA})"));
        reason.with_hint("compare `streamgauge --version` with the version of the agent")
    })
}

/// What a report says on one check, the worst first.
///
/// # Errors
///
/// When the database that is asked for is not in it.
fn told(report: &Value, check: &Check, database: Option<&str>, source: &str) -> Result<String, Reason> {
    let mut out = format!("Right now ({source}, {}):\n", instant(&report["generated_at"]));
    let all = |value: &'static str| report[value].as_array().into_iter().flatten();
    let goes_by = |one: &&Value| database.is_none_or(|name| one["name"] == name || one["local"]["path"] == name);
    let databases: Vec<&Value> = all("databases").filter(goes_by).collect();
    if let Some(name) = database.filter(|_| databases.is_empty()) {
        let known = known_databases(name, all("databases").map(|one| word(&one["name"])));
        let reason = Reason::new(ReasonKind::NotFound, format!("{name}: no such database, according to {source}"));
        return Err(reason.with_hint(human::printable(&known)));
    }
    let agent = all("checks").filter(|_| database.is_none());
    let verdicts = databases.iter().filter_map(|database| database["checks"].as_array()).flatten().chain(agent);
    let mut verdicts: Vec<&Value> = verdicts.filter(|verdict| verdict["check"] == check.name).collect();
    let rank = |status: &str| ["fail", "unknown"].iter().position(|bad| *bad == status).unwrap_or(2);
    verdicts.sort_by_key(|verdict| rank(word(&verdict["status"])));
    let alerts = all("alerts").filter(|alert| {
        let of = &alert["labels"]["database"];
        let its = of.is_null() || databases.iter().any(|database| database["name"] == *of);
        alert["labels"]["alertname"] == check.name && its
    });
    let passes = |alert: &Value| {
        let its = |verdict: &&Value| ["database", "replica"].iter().all(|of| verdict[of] == alert["labels"][of]);
        verdicts.iter().find(|verdict| its(verdict)).is_some_and(|verdict| verdict["status"] == "pass")
    };
    let alerts: Vec<String> = alerts.map(|alert| alert_line(alert, check, passes(alert))).collect();
    let lines: Vec<String> = verdicts.into_iter().map(verdict_line).chain(alerts).collect();
    for line in lines.iter().take(EVIDENCE_LINES_MAX) {
        let _ = writeln!(out, "  {line}");
    }
    if lines.len() > EVIDENCE_LINES_MAX {
        let _ = writeln!(out, "  and {} more", lines.len() - EVIDENCE_LINES_MAX);
    }
    if check.scope() == Scope::Outside {
        let ask = format!("ALERTS{{alertname=\"{}\"}}", check.name);
        let _ = writeln!(out, "  the agent answers; the rest is known to Prometheus: {ask}");
    } else if lines.is_empty() {
        out.push_str("  this check applies to nothing here\n");
    }
    Ok(out)
}

fn verdict_line(verdict: &Value) -> String {
    let said = match word(&verdict["status"]) {
        "pass" => "OK".to_owned(),
        "fail" => word(&verdict["severity"]).to_uppercase(),
        other => other.to_uppercase(),
    };
    format!("{said}{}: {}", subject(verdict), human::printable(word(&verdict["detail"])))
}

/// An alert that fires goes on for a while after its check `passes` again.
fn alert_line(alert: &Value, check: &Check, passes: bool) -> String {
    let state = word(&alert["state"]);
    let since = match state {
        "resolved" => &alert["resolved_at"],
        "firing" => &alert["fired_at"],
        _ => &alert["active_at"],
    };
    let (of, severity) = (subject(&alert["labels"]), word(&alert["severity"]));
    let untold = alert["suppressed"].as_str().map(|why| format!(", and {}", untold(state == "resolved", why)));
    let untold = human::printable(&untold.unwrap_or_default());
    let longest = check.rules.iter().map(|rule| rule.keep_firing).max().filter(|_| passes && state == "firing");
    let ending = longest.map_or_else(String::new, |longest| {
        let seconds = human::spoken(longest.as_secs_f64());
        format!("; the check passes again, and the alert ends when it has for {seconds}")
    });
    format!("alert{of} ({severity}): {state} since {}{untold}{ending}", instant(since))
}

/// A text of the report; `unknown` where it is not one.
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn instant(value: &Value) -> String {
    word(value).parse().map_or_else(|_| "unknown".to_owned(), human::instant)
}

/// ` shop -> s3`, ` shop`, or nothing for the agent itself.
fn subject(of: &Value) -> String {
    let name = |field: &str| of[field].as_str().map(human::printable);
    match (name("database"), name("replica")) {
        (None, _) => String::new(),
        (Some(database), None) => format!(" {database}"),
        (Some(database), Some(replica)) => format!(" {database} -> {replica}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_whose_check_passes_again_is_said_to_end() {
        let check = catalogue().find(|check| check.name == "ReplicationLag").unwrap();
        let told = |status: &str, replica: &str, state: &str| {
            let verdict = |replica: &str, status: &str| {
                json!({"check": check.name, "database": "app", "replica": replica, "status": status, "detail": "lag 0 s",
                    "severity": "critical"})
            };
            let labels = json!({"alertname": check.name, "database": "app", "replica": replica});
            let report = json!({
                "databases": [{"name": "app", "checks": [verdict("s3", status), verdict("file", "fail")]}],
                "alerts": [{"labels": labels, "state": state, "severity": "critical"}],
            });
            super::told(&report, check, None, "a test").unwrap()
        };
        let line = |state: &str, why: &str| {
            let labels = json!({"alertname": check.name, "database": "app", "replica": "s3"});
            let alert = json!({"labels": labels, "state": state, "severity": "warning", "suppressed": why});
            alert_line(&alert, check, false)
        };
        let why = "ReplicaCorrupt (critical) is firing";
        assert!(line("firing", why).ends_with(", and nobody is notified: ReplicaCorrupt (critical) is firing"));
        let over = ", and nobody was notified, as ReplicaCorrupt (critical) was firing then";
        assert!(line("resolved", why).ends_with(over));
        assert!(line("resolved", "silenced: moving").ends_with(", and nobody was notified: silenced: moving"));
        let ending = "; the check passes again, and the alert ends when it has for 5 min 0 s";
        assert!(told("pass", "s3", "firing").ends_with(&format!("firing since unknown{ending}\n")));
        for (status, replica, state) in
            [("fail", "s3", "firing"), ("pass", "file", "firing"), ("pass", "s3", "resolved")]
        {
            assert!(!told(status, replica, state).contains(ending), "{status} {replica} {state}");
        }
    }
}
