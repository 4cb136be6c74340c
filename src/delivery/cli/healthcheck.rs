//! `streamgauge healthcheck`: asks a running agent whether it is healthy, for containers that have no shell.

use std::process::ExitCode;

use clap::Args;

use super::args::SourceArgs;
use super::output;
use super::runtime::block_on;
use super::sources::Sources;
use crate::domain::reason::Reason;
use crate::infrastructure::agent::{address_of, fetch_health};

pub const AFTER_HELP: &str = "\
Exit code: 0 the agent is healthy (with --ready: ready), 1 it is not, or does not answer. An agent is healthy if it \
has made a report within the last five minutes, whatever the report says: bad backups are for alerts to tell, and \
restarting the agent mends none. It is ready when it has looked at every database and replica once.

The agent is asked at the address in its configuration. A Unix socket is preferred, because it needs neither a \
password nor a certificate.

Examples:
  streamgauge healthcheck
  streamgauge healthcheck --url http://127.0.0.1:10099
  HEALTHCHECK CMD [\"/usr/bin/streamgauge\", \"healthcheck\"]";

#[derive(Args, Debug)]
pub struct HealthcheckArgs {
    /// The agent to ask: http://host:port, https://user:password@host:port or unix:/path [default: as configured, otherwise
    /// http://127.0.0.1:10099]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Ask whether it is ready
    #[arg(long)]
    pub ready: bool,

    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Asks once. Whatever is wrong is printed and is exit code 1, because container engines reserve 2.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn main(args: &HealthcheckArgs) -> Result<ExitCode, Reason> {
    match ask(args) {
        Ok(answer) => {
            output::print(&answer)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            output::print_error(&reason);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn ask(args: &HealthcheckArgs) -> Result<String, Reason> {
    let address = match &args.url {
        Some(url) => url.clone(),
        None => address_of(&Sources::new(&args.sources).settings()?.web),
    };
    let answer = block_on(fetch_health(&address, args.ready))??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
