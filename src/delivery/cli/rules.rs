//! `streamgauge rules`: the checks for those who have a Prometheus.

use std::process::ExitCode;

use clap::builder::ValueParser;
use clap::{Args, ValueEnum};

use super::args::choice;
use super::output;
use crate::delivery::render::alertmanager::alertmanager;
use crate::delivery::render::rules::{RuleOptions, RuleSet, rules};
use crate::domain::alerting::RUNBOOK_URL;
use crate::domain::profile::Profile;
use crate::domain::reason::Reason;

pub const AFTER_HELP: &str = "\
The rules work with Prometheus 2.42 and later and expect the scrape job to be called streamgauge. Their alerts are the \
agent's own, with the same labels, so that Alertmanager treats both as one.

The rules for standard and core work with every agent. Those for full compare the numbers in Prometheus, which shows \
how an alert came about, but cannot see a database that is served with a smaller profile.

Examples:
  streamgauge rules > /etc/prometheus/rules/streamgauge.rules.yml
  streamgauge rules --profile minimal | promtool check rules
  streamgauge rules --dashboard-url 'https://grafana.example.com/d/streamgauge-database?var-database={{ $labels.database | urlquery }}'
  streamgauge rules --format alertmanager > alertmanager.yml";

#[derive(Args, Debug)]
pub struct RulesArgs {
    /// Rules for Prometheus, or an example configuration for Alertmanager
    #[arg(long, value_enum, default_value_t = RulesFormat::Prometheus)]
    pub format: RulesFormat,

    /// The `profile` in the agents' configuration, or minimal: nine pages and the watchdog, for every profile
    #[arg(long, value_parser = rule_set(), default_value = "standard")]
    pub profile: RuleSet,

    /// URL of the runbook; `#` and the name of the check in lower case are appended
    #[arg(long, value_name = "URL", default_value = RUNBOOK_URL)]
    pub runbook_url: String,

    /// URL of the dashboard; may be a Prometheus template [default: the agent's own page]
    #[arg(long, value_name = "URL")]
    pub dashboard_url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RulesFormat {
    Prometheus,
    Alertmanager,
}

fn rule_set() -> ValueParser {
    let profiles = Profile::ALL.iter().map(|profile| (profile.as_str(), RuleSet::Of(*profile)));
    choice(profiles.chain([("minimal", RuleSet::Minimal)]))
}

/// Prints the rules.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn main(args: &RulesArgs) -> Result<ExitCode, Reason> {
    let text = match args.format {
        RulesFormat::Prometheus => rules(RuleOptions {
            set: args.profile,
            runbook_url: &args.runbook_url,
            dashboard_url: args.dashboard_url.as_deref(),
        }),
        RulesFormat::Alertmanager => alertmanager(),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
