//! `streamgauge restorable`: to which instants a replica can be restored.

use std::process::ExitCode;

use clap::Args;

use super::SourceArgs;
use crate::domain::reason::{Reason, ReasonKind};

pub const AFTER_HELP: &str = "\
Examples:
  streamgauge restorable
  streamgauge restorable orders --at '2026-11-22 08:30'";

#[derive(Args, Debug)]
pub struct RestorableArgs {
    /// Configured databases by name or path, or URLs of replicas [default: all]
    #[arg(value_name = "DATABASE|URL")]
    pub places: Vec<String>,

    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Prints the coverage map.
///
/// # Errors
///
/// Why it could not be found out.
pub fn main(args: &RestorableArgs) -> Result<ExitCode, Reason> {
    Err(Reason::new(ReasonKind::Unsupported, format!("restorable {}: not there yet", args.places.join(" "))))
}
