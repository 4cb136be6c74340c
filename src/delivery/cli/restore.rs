//! `streamgauge restore`: the recovery tool at three in the morning.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::SourceArgs;
use crate::domain::reason::{Reason, ReasonKind};

pub const AFTER_HELP: &str = "\
Examples:
  streamgauge restore orders -o /tmp/orders.db
  streamgauge restore s3://backups/orders -o orders.db --at '2026-11-22 08:30'";

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// A configured database by name or path, or a replica's URL such as s3://bucket/path or file:///directory
    #[arg(value_name = "DATABASE|URL")]
    pub place: String,

    /// Where to restore to; a file that is there already is never overwritten
    #[arg(short, long, value_name = "PATH")]
    pub output: PathBuf,

    /// The replica to restore from, where a database has several
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,

    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Restores.
///
/// # Errors
///
/// Why it could not.
pub fn main(args: &RestoreArgs) -> Result<ExitCode, Reason> {
    Err(Reason::new(ReasonKind::Unsupported, format!("restore {}: not there yet", args.place)))
}
