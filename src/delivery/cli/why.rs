//! `streamgauge why`: what a check means, what it says right now, and what to do, with nothing but this program.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use jiff::Timestamp;
use serde::Deserialize;

use super::args::{CheckArgs, Format, SourceArgs};
use super::runtime::block_on;
use super::sources::Sources;
use super::{check, output};
use crate::delivery::render::json::json;
use crate::delivery::render::runbook;
use crate::domain::check::{Check, catalogue};
use crate::domain::human;
use crate::domain::limits::EVIDENCE_LINES_MAX;
use crate::domain::number::Scope;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::verification::VerifyDepth;
use crate::infrastructure::agent::fetch_report;

pub const AFTER_HELP: &str = "\
What the check says right now comes from the agent if one answers, and otherwise from one look like that of \
`streamgauge check`. The runbook is part of this program and needs neither.

Without CHECK, all checks are listed. They have the names of their alerts; upper and lower case do not matter.

Examples:
  streamgauge why ReplicationLag
  streamgauge why replicagap orders
  streamgauge why HostGone --url http://10.0.0.7:10099";

/// The address of an agent that is not configured otherwise.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:10099";

#[derive(Args, Debug)]
pub struct WhyArgs {
    /// The check, by the name of its alert [default: list all]
    #[arg(value_name = "CHECK", value_parser = names(), ignore_case = true, hide_possible_values = true)]
    pub check: Option<String>,

    /// Only what it says about this database, by name or path [default: all]
    #[arg(value_name = "DATABASE")]
    pub database: Option<String>,

    /// The agent to ask [default: web.listen-address as configured, otherwise http://127.0.0.1:10099]
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
/// When standard output cannot be written. What keeps evidence away is said in its place.
pub fn main(args: &WhyArgs) -> Result<ExitCode, Reason> {
    let Some(name) = &args.check else {
        output::print(&list())?;
        return Ok(ExitCode::SUCCESS);
    };
    let check = catalogue().find(|check| check.name.eq_ignore_ascii_case(name));
    let check = check.ok_or_else(|| Reason::new(ReasonKind::NotFound, format!("{name}: no such check")))?;
    let colour = output::colour();
    let (bold, plain) = if colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let severities: Vec<&str> = check.rules.iter().map(|rule| rule.severity.as_str()).collect();
    let mut text = format!("{bold}{}{plain} ({}): {}\n\n", check.name, severities.join(", "), check.title);
    match evidence(args, check) {
        Ok(lines) => text.push_str(&lines),
        Err(reason) => {
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

/// How this host itself reaches what is listened on.
fn local(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())) } else { address }
}

/// The evidence of a check right now, from the agent or from a look.
fn evidence(args: &WhyArgs, check: &Check) -> Result<String, Reason> {
    let loaded = Sources::new(&args.sources).read();
    let configured = loaded.as_ref().ok().and_then(|loaded| loaded.settings.web.listen_address.first());
    let address = args.url.clone().unwrap_or_else(|| {
        configured.map_or_else(|| DEFAULT_ADDRESS.to_owned(), |listens| format!("http://{}", local(*listens)))
    });
    let database = args.database.as_deref();
    let silent = match block_on(fetch_report(&address))? {
        Ok(body) => {
            let said =
                Said::read(&body).map_err(|reason| reason.context(format_args!("read the report of {address}")))?;
            return Ok(said.told(check, database, &format!("the agent at {address}")));
        }
        Err(reason) => reason,
    };
    if check.scope() == Scope::Outside {
        let ask = format!("Prometheus knows: ALERTS{{alertname=\"{}\"}}. No agent answers here: {silent}", check.name);
        return Err(Reason::new(ReasonKind::NotFound, ask));
    }
    if args.url.is_some() || !matches!(check.scope(), Scope::Database | Scope::Replica) {
        return Err(silent);
    }
    let looked = loaded.and_then(|_| {
        check::look(&CheckArgs {
            databases: database.map(str::to_owned).into_iter().collect(),
            sources: args.sources.clone(),
            format: Format::Json,
            verify: VerifyDepth::Structure,
            wait: Duration::from_secs(5),
        })
    });
    let report = looked.map_err(|reason| reason.context(format_args!("{silent}; look instead")))?;
    let said = Said::read(&json(&report)?)?;
    Ok(said.told(check, None, "one look; no agent answers"))
}

/// The part of a report, in the form of the JSON API, that tells of checks.
#[derive(Debug, Deserialize)]
struct Said {
    generated_at: Timestamp,
    databases: Vec<SaidDatabase>,
    /// Of the agent itself.
    checks: Vec<SaidVerdict>,
    alerts: Vec<SaidAlert>,
}

#[derive(Debug, Deserialize)]
struct SaidDatabase {
    name: String,
    local: Option<SaidLocal>,
    checks: Vec<SaidVerdict>,
}

#[derive(Debug, Deserialize)]
struct SaidLocal {
    path: String,
}

#[derive(Debug, Deserialize)]
struct SaidVerdict {
    check: String,
    severity: String,
    database: Option<String>,
    replica: Option<String>,
    status: String,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct SaidAlert {
    labels: BTreeMap<String, String>,
    state: String,
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    suppressed: Option<String>,
}

impl Said {
    fn read(body: &[u8]) -> Result<Self, Reason> {
        serde_json::from_slice(body).map_err(|error| {
            let reason = Reason::new(ReasonKind::Corrupt, format!("not a report of this version: {error}"));
            reason.with_hint("compare `streamgauge --version` with the version of the agent")
        })
    }

    /// The report's verdicts on one check, the worst first.
    fn told(&self, check: &Check, database: Option<&str>, source: &str) -> String {
        let mut out = format!("Right now ({source}, {}):\n", human::instant(self.generated_at));
        let goes_by = |one: &&SaidDatabase| {
            database.is_none_or(|name| one.name == name || one.local.as_ref().is_some_and(|local| local.path == name))
        };
        let databases: Vec<&SaidDatabase> = self.databases.iter().filter(goes_by).collect();
        if let Some(name) = database.filter(|_| databases.is_empty()) {
            let _ = writeln!(out, "  there is no database {}", human::printable(name));
            return out;
        }
        let agent = self.checks.iter().filter(|_| database.is_none());
        let verdicts = databases.iter().flat_map(|database| &database.checks).chain(agent);
        let mut verdicts: Vec<&SaidVerdict> = verdicts.filter(|verdict| verdict.check == check.name).collect();
        verdicts.sort_by_key(|verdict| match verdict.status.as_str() {
            "fail" => 0,
            "unknown" => 1,
            _ => 2,
        });
        let is_its = |alert: &&SaidAlert| {
            let name = |label: &str| alert.labels.get(label).map(String::as_str);
            let its = name("database").is_none_or(|name| databases.iter().any(|database| database.name == name));
            name("alertname") == Some(check.name) && its
        };
        let lines =
            verdicts.iter().map(|verdict| verdict.line()).chain(self.alerts.iter().filter(is_its).map(SaidAlert::line));
        let lines: Vec<String> = lines.collect();
        for line in lines.iter().take(EVIDENCE_LINES_MAX) {
            let _ = writeln!(out, "  {line}");
        }
        if lines.len() > EVIDENCE_LINES_MAX {
            let _ = writeln!(out, "  and {} more", lines.len() - EVIDENCE_LINES_MAX);
        }
        if check.scope() == Scope::Outside {
            let _ = writeln!(
                out,
                "  the agent answers; the rest is known to Prometheus: ALERTS{{alertname=\"{}\"}}",
                check.name
            );
        } else if lines.is_empty() {
            out.push_str("  nothing to which this check applies\n");
        }
        out
    }
}

impl SaidVerdict {
    fn line(&self) -> String {
        let word = match self.status.as_str() {
            "pass" => "OK".to_owned(),
            "fail" => self.severity.to_uppercase(),
            other => other.to_uppercase(),
        };
        let of = subject(self.database.as_deref(), self.replica.as_deref());
        format!("{word}{of}: {}", human::printable(&self.detail))
    }
}

impl SaidAlert {
    fn line(&self) -> String {
        let label = |name: &str| self.labels.get(name).map(String::as_str);
        let since = match self.state.as_str() {
            "resolved" => self.resolved_at,
            "firing" => self.fired_at,
            _ => None,
        };
        let since = human::instant(since.unwrap_or(self.active_at));
        let severity = label("severity").unwrap_or("unknown");
        let of = subject(label("database"), label("replica"));
        let untold =
            self.suppressed.as_deref().map_or_else(String::new, |why| format!(", and nobody is notified: {why}"));
        format!("alert{of} ({severity}): {} since {since}{}", self.state, human::printable(&untold))
    }
}

/// ` shop -> s3`, ` shop`, or nothing for the agent itself.
fn subject(database: Option<&str>, replica: Option<&str>) -> String {
    let name = |text| human::printable(text);
    match (database, replica) {
        (None, _) => String::new(),
        (Some(database), None) => format!(" {}", name(database)),
        (Some(database), Some(replica)) => format!(" {} -> {}", name(database), name(replica)),
    }
}
