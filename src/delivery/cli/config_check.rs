//! `streamgauge config check`: every problem of the configuration, or what would be watched.

use std::fmt::Write;
use std::process::ExitCode;

use super::args::ConfigCheckArgs;
use super::output;
use super::sources::{Sources, unlisted, web_config};
use crate::domain::drill::{DrillPolicy, DrillSchedule};
use crate::domain::human;
use crate::domain::printable::printable;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::ReplicaLocation;
use crate::infrastructure::config::Loaded;
use crate::infrastructure::notify::place;
use crate::infrastructure::store::is_supported;

/// Reads the configuration and prints what came of it.
///
/// # Errors
///
/// All problems.
pub fn main(args: &ConfigCheckArgs) -> Result<ExitCode, Reason> {
    let sources = Sources::of_check(args);
    // What is wrong with one of them says nothing about the other.
    let web = sources.settings().ok().map(|settings| web_config(&settings)).transpose();
    let loaded = match (sources.read(), web) {
        (Ok(mut loaded), Ok(web)) => {
            loaded.warnings.extend(web.flatten().into_iter().flat_map(|web| web.warnings));
            loaded
        }
        (read, web) => {
            let refused = [read.err(), web.err()].into_iter().flatten();
            let lines: Vec<String> = refused.map(|reason| reason.message).collect();
            return Err(Reason::new(ReasonKind::Misconfigured, lines.join("\n")));
        }
    };
    output::print(&text(&loaded))?;
    unlisted(&loaded.sources).map_or(Ok(ExitCode::SUCCESS), Err)
}

/// When it is drilled, and up to which download.
fn drills(policy: &DrillPolicy) -> String {
    let when = match &policy.schedule {
        DrillSchedule::Off => return "not drilled by the agent".to_owned(),
        DrillSchedule::BySize => "daily, or every 30 days above a download of 1 GiB".to_owned(),
        DrillSchedule::Every(interval) => format!("every {}", human::duration(interval.as_secs_f64())),
        DrillSchedule::Cron(text) => format!("at {text}"),
    };
    let most = human::bytes(policy.size_max);
    match policy.probes.len() {
        0 => format!("drilled {when}, up to {most}"),
        probes => format!("drilled {when}, up to {most}, {probes} probes"),
    }
}

/// Where a replica is, and what cannot be done with it.
fn place_of(location: &ReplicaLocation) -> String {
    let mut place = printable(&location.url());
    for (word, value) in [("endpoint", location.endpoint()), ("region", location.region())] {
        if let Some(value) = value {
            let _ = write!(place, "  {word} {}", printable(value));
        }
    }
    if !is_supported(location) {
        let kind = printable(location.kind().as_str());
        let _ = write!(place, "  unsupported: this version cannot read replicas of kind {kind}");
    }
    place
}

fn text(loaded: &Loaded) -> String {
    let mut text = String::new();
    for target in &loaded.targets {
        let path =
            target.database.as_ref().map_or_else(|| "replica only".into(), |files| files.path.display().to_string());
        let _ = writeln!(text, "{}  {}", printable(&target.name.0), printable(&path));
        for replica in &target.replicas {
            let _ = writeln!(text, "    {}  {}", printable(&replica.name), place_of(&replica.location));
        }
        if target.replicas.is_empty() {
            text.push_str("    no replica\n");
        } else if target.replicas.iter().any(|replica| is_supported(&replica.location)) {
            let _ = writeln!(text, "    {}", drills(&target.drill));
        } else {
            text.push_str("    no replica that is watched or drilled\n");
        }
    }
    let alerting = &loaded.settings.alerting;
    for target in &alerting.receivers {
        let (kind, least) = (target.kind.as_str(), target.severity.as_str());
        let name = printable(&target.name);
        let _ = writeln!(text, "receiver {name}  {kind} {}, from {least} on", place(&target.kind));
    }
    if let Some(deadman) = &alerting.deadman {
        let _ = writeln!(text, "deadman  every {}", human::duration(deadman.interval.as_secs_f64()));
    }
    for note in &loaded.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let beyond = (loaded.over_limit > 0).then(|| human::counted(loaded.over_limit, "database"));
    let beyond = beyond.map(|beyond| format!("{beyond} more than one agent can watch"));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).chain(beyond).collect();
    for warning in &warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let unsupported = loaded.targets.iter().flat_map(|target| &target.replicas);
    let unsupported = unsupported.filter(|replica| !is_supported(&replica.location)).count();
    let (databases, warnings) = (loaded.targets.len(), warnings.len());
    let word = if unlisted(&loaded.sources).is_some() { "incomplete" } else { "ok" };
    let _ = write!(text, "{word}: {}, {}", human::counted(databases, "database"), human::counted(warnings, "warning"));
    if unsupported > 0 {
        let _ = write!(text, ", {} unsupported", human::counted(unsupported, "replica"));
    }
    text.push('\n');
    text
}
