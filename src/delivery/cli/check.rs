//! `streamgauge check`: one look, a verdict, an exit code.

use std::process::ExitCode;

use super::sources::{Sources, pace, stores};
use super::table::table;
use super::{CheckArgs, CheckFormat, CheckVerify, REVISION, VERSION, output, run};
use crate::delivery::render::json::json;
use crate::domain::check::{exit_code, judge_agent, verdicts};
use crate::domain::limits::SPOT_ONCE_PAGES;
use crate::domain::reason::Reason;
use crate::domain::report::{AgentReport, ConfigReport, CostReport, Report, SCHEMA};
use crate::domain::spot::SpotPolicy;
use crate::domain::verification::{VerifyDepth, VerifyPolicy};
use crate::infrastructure::clock::SystemClock;
use crate::infrastructure::config::Log;
use crate::infrastructure::config::{LogFormat, LogLevel};
use crate::infrastructure::database::Watch;
use crate::usecase::ports::{Clock, Pace, Stores};
use crate::usecase::watch::{OnceParts, look_once, named};

/// Looks once and prints what was found.
///
/// # Errors
///
/// When the configuration has problems or names a database that is not there. What keeps a database or a replica from
/// being read is part of the report.
pub fn main(args: &CheckArgs) -> Result<ExitCode, Reason> {
    let report = look(args)?;
    match args.format {
        CheckFormat::Table => output::print(&table(&report, output::colour()))?,
        CheckFormat::Json => output::print(&format!("{}\n", String::from_utf8_lossy(&json(&report)?)))?,
    }
    Ok(ExitCode::from(exit_code(verdicts(&report))))
}

/// Looks once.
///
/// # Errors
///
/// As [`main`].
pub fn look(args: &CheckArgs) -> Result<Report, Reason> {
    // What matters is in the report; this is for what cannot be in it.
    super::logging::init(&Log { level: LogLevel::Error, format: LogFormat::Logfmt });
    let loaded = Sources::new(&args.sources).read()?;
    let targets = named(loaded.targets, &args.databases)?;
    let (clock, stores) = (SystemClock::start(), stores(&loaded.settings));
    // Whoever asks once has asked for it: the budget is for what is read unasked.
    let spot = match args.verify {
        CheckVerify::Content => SpotPolicy { pages: SPOT_ONCE_PAGES, ..SpotPolicy::default() },
        CheckVerify::None | CheckVerify::Structure => SpotPolicy::OFF,
    };
    let verify = VerifyPolicy { depth: depth(args.verify), directory: u64::MAX, bucket: u64::MAX, spot };
    let pace = Pace { verify, ..pace(&loaded.settings) };
    let started = clock.now();
    let mut watch = Watch::new();
    let parts = OnceParts { clock: &clock, watch: &mut watch, stores: stores.as_ref(), pace: &pace };
    let databases = run::block_on(look_once(parts, targets, args.wait))?;
    let now = clock.now().wall;
    let mut report = Report {
        schema: SCHEMA,
        generated_at: now,
        complete: true,
        agent: AgentReport {
            version: VERSION,
            revision: REVISION,
            started_at: started.wall,
            config: ConfigReport {
                last_reload_successful: true,
                last_reload_success_at: Some(started.wall),
                error: None,
            },
            sources: loaded.sources,
            collectors: Vec::new(),
            stores: stores.report(),
            buckets: Vec::new(),
            receivers: Vec::new(),
            process: None,
            drill_budget: None,
            state: None,
            cost: CostReport::default(),
        },
        databases,
        over_limit: loaded.over_limit,
        checks: Vec::new(),
        alerts: Vec::new(),
        alerts_dropped: 0,
    };
    report.checks = judge_agent(&report, now);
    Ok(report)
}

fn depth(asked: CheckVerify) -> VerifyDepth {
    match asked {
        CheckVerify::None => VerifyDepth::None,
        CheckVerify::Structure => VerifyDepth::Structure,
        CheckVerify::Content => VerifyDepth::Content,
    }
}
