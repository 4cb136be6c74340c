//! `streamgauge drill`: restore, check, remove, and say what came of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};
use tokio::signal::unix::SignalKind;
use tracing::level_filters::LevelFilter;

use super::args::{Format, SourceArgs};
use super::drill_progress::Narrator;
use super::output;
use super::runtime::{Signals, block_on};
use super::sources::{Picked, Sources, store_options};
use crate::delivery::render::drill_report;
use crate::delivery::render::json::pretty;
use crate::domain::drill::{DrillPolicy, DrillRecord, DrillResult, Integrity};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::TargetName;
use crate::domain::verdict::Word;
use crate::infrastructure::config::{Settings, read_duration, read_size};
use crate::infrastructure::drill::process::ProcessDrills;
use crate::usecase::ports::{DrillJob, DrillRunner};

pub const AFTER_HELP: &str = "\
Each drill runs in a process of its own with low priority: it restores into a private directory, examines the result \
with SQLite and the configured probes, compares it with the live database where possible, and removes it.

passed:       it restores, and every check passed
failed:       the backup does not restore, or what was restored is wrong
inconclusive: the drill could not tell: no space, no credentials, no answer, no time

Exit code: 0 all passed, 2 one failed, 3 one was inconclusive or the drills could not be started.

Examples:
  streamgauge drill
  streamgauge drill orders --report orders.html
  streamgauge drill s3://backups/orders --integrity full --max-size 10GiB";

#[derive(Args, Debug)]
pub struct DrillArgs {
    /// Configured databases by name or path, or URLs of replicas [default: all]
    #[arg(value_name = "DATABASE|URL")]
    pub places: Vec<String>,

    /// Only the replicas of this name
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,

    /// Restore everything, even if a copy was kept from the previous drill
    #[arg(long)]
    pub full: bool,

    /// How thoroughly SQLite checks the restored database [default: as configured, otherwise quick]
    #[arg(long, value_name = "HOW", value_parser = integrity())]
    pub integrity: Option<Integrity>,

    /// Do not drill replicas that would download more than this, such as 10GiB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = read_size)]
    pub max_size: Option<u64>,

    /// Stop a drill that takes longer [default: as configured, otherwise 6h]
    #[arg(long, value_name = "DURATION", value_parser = read_duration)]
    pub timeout: Option<Duration>,

    /// Where to restore databases for the duration of the drill: a directory that does not exist yet, or one that only
    /// you can enter [default: as configured, otherwise drill below storage.path, otherwise in your cache directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub scratch: Option<PathBuf>,

    /// Write a report for an auditor, FILE.html or FILE.json [repeatable]
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    pub report: Vec<PathBuf>,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    #[command(flatten)]
    pub sources: SourceArgs,
}

fn integrity() -> ValueParser {
    let words = [
        PossibleValue::new("none").help("Only whether it opens"),
        PossibleValue::new("quick").help("PRAGMA quick_check"),
        PossibleValue::new("full").help("PRAGMA integrity_check, which takes about ten times as long"),
    ];
    let meant = |word: String| match word.as_str() {
        "none" => Integrity::None,
        "quick" => Integrity::Quick,
        _ => Integrity::Full,
    };
    PossibleValuesParser::new(words).map(meant).into()
}

fn report_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "json") => Ok(path),
        _ => Err("expected a file that ends in .html or .json".to_owned()),
    }
}

/// Drills one database after the other.
///
/// # Errors
///
/// When the drills cannot be started. How they end is printed.
pub fn main(args: &DrillArgs) -> Result<ExitCode, Reason> {
    super::logging::init_from(LevelFilter::WARN);
    let (settings, picked) = Sources::new(&args.sources).pick(&args.places, args.replica.as_deref())?;
    if picked.is_empty() {
        return Err(Reason::new(ReasonKind::NotFound, "drill: no replica is configured")
            .with_hint("name the URL of one, or a configuration with --litestream.config"));
    }
    let scratch = args.scratch.clone().unwrap_or_else(|| settings.drill_scratch());
    let narrator = Arc::new(Narrator::default());
    let drills = runner(&settings, scratch)?.with_news(Arc::clone(&narrator) as _);
    let jobs = picked.into_iter().map(|picked| job(args, &settings, picked)).collect();
    let records = block_on(run_all(&drills, jobs, &narrator))??;
    match args.format {
        Format::Table => output::print(&drill_report::table(&records, output::colour()))?,
        Format::Json => output::print(&pretty(&records)?)?,
    }
    for path in &args.report {
        write_report(path, &records)?;
    }
    Ok(ExitCode::from(exit_code(&records)))
}

/// Runs drills in processes of this same program.
///
/// # Errors
///
/// When the program cannot be found.
pub fn runner(settings: &Settings, scratch: PathBuf) -> Result<ProcessDrills, Reason> {
    let program = std::env::current_exe().map_err(|error| Reason::from(error).context("find own program"))?;
    Ok(ProcessDrills::new(program, scratch, store_options(settings)))
}

/// A drill of a replica that was picked. One that was named by its URL goes by it.
fn job(args: &DrillArgs, settings: &Settings, picked: Picked) -> DrillJob {
    let Picked { target, replica } = picked;
    let (database, files, configured) = match target {
        Some(target) => (target.name, target.database, (*target.drill).clone()),
        None => (TargetName(replica.location.url().into()), None, settings.drill.policy.clone()),
    };
    DrillJob { database, files, replica, policy: policy(args, configured), full: args.full }
}

/// The configured policy with what the command line says. The configured size limit is the schedule's.
fn policy(args: &DrillArgs, configured: DrillPolicy) -> DrillPolicy {
    DrillPolicy {
        size_max: args.max_size.unwrap_or(u64::MAX),
        timeout: args.timeout.unwrap_or(configured.timeout),
        integrity: args.integrity.unwrap_or(configured.integrity),
        ..configured
    }
}

/// Runs the drills until they are through or somebody wants them to end.
async fn run_all(drills: &ProcessDrills, jobs: Vec<DrillJob>, narrator: &Narrator) -> Result<Vec<DrillRecord>, Reason> {
    let mut signals = Signals::listen([SignalKind::interrupt(), SignalKind::terminate()])?;
    let all = async {
        let mut records = Vec::new();
        for job in jobs {
            narrator.begin(&job);
            let record = drills.drill(job).await;
            narrator.end(&record);
            records.push(record);
        }
        records
    };
    // Dropping a drill ends its process and removes what it restored.
    tokio::select! {
        records = all => Ok(records),
        signal = signals.next() => {
            let how = if signal == SignalKind::interrupt() { "interrupted" } else { "terminated" };
            Err(Reason::new(ReasonKind::Failed, format!("drill: {how}")))
        }
    }
}

fn write_report(path: &Path, records: &[DrillRecord]) -> Result<(), Reason> {
    let html = path.extension().is_some_and(|extension| extension == "html");
    let text = if html { drill_report::html(records) } else { pretty(&records)? };
    output::replace(path, &text)
}

/// Of all results, as they stand in the table and in the JSON. No drill has shown nothing.
fn exit_code(records: &[DrillRecord]) -> u8 {
    let words = records.iter().map(|record| match record.result {
        DrillResult::Failed => Word::Critical,
        DrillResult::Inconclusive => Word::Unknown,
        DrillResult::Passed => Word::Ok,
    });
    words.max().unwrap_or(Word::Unknown).exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_html_or_json() {
        assert!(report_file("a.html").is_ok() && report_file("a.json").is_ok());
        assert!(report_file("a.pdf").is_err() && report_file("html").is_err());
    }

    fn record(result: DrillResult) -> DrillRecord {
        DrillRecord { result, ..crate::domain::report::sample::drill_record("app") }
    }

    /// All sets of results: exit code, the words of the table, and the JSON say the same.
    #[test]
    fn exit_code_table_and_json_agree_on_every_combination() {
        let results = [DrillResult::Passed, DrillResult::Inconclusive, DrillResult::Failed];
        for set in 0_u8..1 << results.len() {
            let records: Vec<_> =
                (0..).zip(results).filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, result)| record(result)).collect();
            let worst = |words: &[String]| match () {
                () if words.iter().any(|word| word == "failed") => 2,
                () if words.is_empty() || words.iter().any(|word| word == "inconclusive") => 3,
                () => 0,
            };
            let table = drill_report::table(&records, false);
            let rows = table.lines().skip(1).filter(|line| line.starts_with("app"));
            let words: Vec<String> =
                rows.map(|line| line.split_whitespace().nth(2).unwrap_or_default().to_owned()).collect();
            let json: serde_json::Value = serde_json::from_str(&pretty(&records).unwrap()).unwrap();
            let said: Vec<String> =
                json.as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap().to_owned()).collect();
            assert_eq!(words, said);
            assert_eq!([exit_code(&records); 2], [worst(&words), worst(&said)], "{table}");
        }
    }
}
