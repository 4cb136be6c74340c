//! `streamgauge config check`: every problem of the configuration, or what would be watched.

use std::fmt::Write;
use std::process::ExitCode;

use super::sources::Sources;
use super::{SourceArgs, output};
use crate::delivery::render::human;
use crate::domain::drill::{DrillPolicy, DrillSchedule};
use crate::domain::reason::Reason;
use crate::infrastructure::config::Loaded;
use crate::infrastructure::notify::place;

/// Reads the configuration and prints what came of it.
///
/// # Errors
///
/// All problems.
pub fn main(args: &SourceArgs) -> Result<ExitCode, Reason> {
    let loaded = Sources::new(args).read().map_err(|reason| Reason { hint: None, ..reason })?;
    output::print(&text(&loaded))?;
    Ok(ExitCode::SUCCESS)
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

fn text(loaded: &Loaded) -> String {
    let mut text = String::new();
    for target in &loaded.targets {
        let path =
            target.database.as_ref().map_or_else(|| "replica only".into(), |files| files.path.display().to_string());
        let _ = writeln!(text, "{}  {path}", target.name);
        for replica in &target.replicas {
            let _ = writeln!(text, "    {}  {}", replica.name, replica.location.url());
        }
        if target.replicas.is_empty() {
            text.push_str("    no replica\n");
        } else {
            let _ = writeln!(text, "    {}", drills(&target.drill));
        }
    }
    let alerting = &loaded.settings.alerting;
    for target in &alerting.receivers {
        let (kind, least) = (target.kind.as_str(), target.severity.as_str());
        let _ = writeln!(text, "receiver {}  {kind} {}, from {least} on", target.name, place(&target.kind));
    }
    if let Some(deadman) = &alerting.deadman {
        let _ = writeln!(text, "deadman  every {}", human::duration(deadman.interval.as_secs_f64()));
    }
    for warning in &loaded.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    if loaded.over_limit > 0 {
        let _ = writeln!(text, "warning: {} databases more than one agent watches", loaded.over_limit);
    }
    let _ = writeln!(text, "ok: {} databases, {} warnings", loaded.targets.len(), loaded.warnings.len());
    text
}
