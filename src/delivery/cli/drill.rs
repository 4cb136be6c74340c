//! `streamgauge drill`: restore, check, remove, and say what came of it.

use std::process::ExitCode;

use clap::Args;

use super::SourceArgs;
use crate::domain::reason::{Reason, ReasonKind};

pub const AFTER_HELP: &str = "\
Exit code: 0 all passed, 2 one failed, 3 one was inconclusive.

Examples:
  streamgauge drill
  streamgauge drill orders --report orders.html";

/// The hidden subcommand that does the work in a process of its own.
pub const WORKER_COMMAND: &str = "drill-worker";

#[derive(Args, Debug)]
pub struct DrillArgs {
    /// Configured databases by name or path, or URLs of replicas [default: all]
    #[arg(value_name = "DATABASE|URL")]
    pub places: Vec<String>,

    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Drills one database after the other.
///
/// # Errors
///
/// What kept the drills from being begun. How they end is printed.
pub fn main(args: &DrillArgs) -> Result<ExitCode, Reason> {
    Err(Reason::new(ReasonKind::Unsupported, format!("drill {}: not there yet", args.places.join(" "))))
}

/// The other side: reads a job from standard input and writes what comes of it to standard output.
///
/// # Errors
///
/// When the job cannot be read or the answer cannot be written.
pub fn worker() -> Result<ExitCode, Reason> {
    Err(Reason::new(ReasonKind::Unsupported, "drill: not there yet"))
}
