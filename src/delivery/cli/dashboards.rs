//! `streamgauge dashboards`: the numbers for those who have a Grafana.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::args::choice_of;
use super::output;
use crate::delivery::render::dashboards::{DashboardFormat, dashboard, names};
use crate::domain::profile::Profile;
use crate::domain::reason::Reason;

pub const AFTER_HELP: &str = "\
The dashboards work with Grafana 10.4 and later, and a Prometheus that scrapes the agents. They link to each other by fixed \
addresses: /d/streamgauge-fleet, /d/streamgauge-database and /d/streamgauge-agent.

Examples:
  streamgauge dashboards fleet > /var/lib/grafana/dashboards/streamgauge-fleet.json
  streamgauge dashboards database --import > for-the-import-dialog.json
  streamgauge dashboards database --profile full > /var/lib/grafana/dashboards/streamgauge-database.json";

#[derive(Args, Debug)]
pub struct DashboardsArgs {
    /// The dashboard to print
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    pub dashboard: String,

    /// Print it for the import dialog and grafana.com, which ask for the data source, instead of for provisioning
    #[arg(long)]
    pub import: bool,

    /// The `profile` in the agents' configuration
    #[arg(long, value_parser = choice_of(Profile::ALL, Profile::as_str), default_value = "standard")]
    pub profile: Profile,
}

/// Prints a dashboard.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn main(args: &DashboardsArgs) -> Result<ExitCode, Reason> {
    let format = if args.import { DashboardFormat::Import } else { DashboardFormat::Provisioning };
    output::print(&dashboard(&args.dashboard, format, args.profile))?;
    Ok(ExitCode::SUCCESS)
}
