//! The command line: its words here, in the style of Prometheus's own programs, and one file for what is printed.

pub mod args;
pub mod blocks;
pub mod check;
pub mod config_check;
pub mod cost;
pub mod dashboards;
pub mod demo;
pub mod drill;
pub mod drill_progress;
pub mod drill_worker;
pub mod healthcheck;
pub mod logging;
pub mod nagios;
pub mod notify;
pub mod observer;
pub mod output;
pub mod overview;
pub mod progress;
pub mod restorable;
pub mod restore;
mod restore_place;
pub mod restore_words;
pub mod rules;
pub mod run;
pub mod runtime;
pub mod sources;
pub mod supervise;
pub mod version;
pub mod when;
pub mod why;

use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::args::{CheckArgs, ConfigArgs, DemoArgs, MetricsArgs, RunArgs};
use self::version::{REVISION, VERSION};
use crate::delivery::demo::{PEER_COMMAND, PeerArgs};
use crate::infrastructure::drill::process::WORKER_COMMAND;

static LONG_VERSION: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));

/// Tells what you could restore right now, for every SQLite database that Litestream replicates
#[derive(Debug, Parser)]
#[command(
    name = "streamgauge",
    version = LONG_VERSION.as_str(),
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  One look, as a table:
    streamgauge check --litestream.config /etc/litestream.yml
  Watch, and serve http://127.0.0.1:10099/metrics:
    streamgauge run --litestream.config /etc/litestream.yml
  See replication break, with nothing installed:
    streamgauge demo --fault stall"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch databases and their replicas, and serve metrics until stopped
    #[command(after_help = "\
Signals: SIGHUP and POST /-/reload reload the configuration; SIGTERM and SIGINT stop the agent. Changes to [web], \
[storage], [log], replica.timeout and replica.ca-file need a restart. Changes to the file that --web.config.file names \
take effect within two seconds.

Every option of the configuration file can also be set in the environment (STREAMGAUGE__...). Flags override the \
environment, the environment overrides the file, and the file overrides the defaults.

Examples:
  streamgauge run --litestream.config /etc/litestream.yml
  streamgauge run --config.file /etc/streamgauge.toml --web.listen-address :10099 --web.config.file /etc/web.yml")]
    Run(RunArgs),

    /// Look once, and tell what could be restored of each database
    #[command(after_help = "\
Exit code: 0 all is well, 1 warning, 2 critical, 3 unknown. Suitable for cron, Nagios and CI. If anything prevents the \
look, such as a mistake in the configuration or on the command line, the result is unknown, too: nothing is known to \
be broken.

Looks at the databases first, then at their replicas. A replica that is behind its database gets --wait to catch up.

Several databases get one line each, the worst first. With more than 16, only those that are not ok are listed, 16 at \
most; the others are counted, one line for each state. SAFE UNTIL is what the best replica is proven to hold, AT RISK \
what would be lost with this disk now, LAST DRILL what this host's agent remembers. A single database is shown in \
full. Lines are as wide as the terminal; in a file or pipe nothing is cut, unless COLUMNS sets a width.

If an agent runs on this host and its state can be read, a check whose alert fires there fails here at least as badly: \
the agent keeps watching, and sees what one look cannot. The JSON lists these alerts in alerts.

--format prometheus writes what the agent exports, for the textfile collector of node_exporter: cron is enough to feed \
Prometheus. With --output, a reader never sees half a file. If the look fails, the file stays as it is, and \
node_textfile_mtime_seconds tells how old it is. --format nagios writes one line with performance data, and UNKNOWN if \
the look fails.

Examples:
  streamgauge check --litestream.config /etc/litestream.yml
  streamgauge check orders --format json | jq '.databases[].replicas[].lag_seconds'
  streamgauge check --format prometheus --output /var/lib/node_exporter/streamgauge.prom
  streamgauge check --format nagios --wait 20s")]
    Check(CheckArgs),

    /// Restore a database from its replica, without Litestream
    #[command(after_help = restore::AFTER_HELP)]
    Restore(restore::RestoreArgs),

    /// Show which points in time a replica can be restored to, and what blocks the others
    #[command(after_help = restorable::AFTER_HELP)]
    Restorable(restorable::RestorableArgs),

    /// Estimate what replication costs a month, now and with other settings
    #[command(after_help = cost::AFTER_HELP.as_str())]
    Cost(cost::CostArgs),

    /// Prove that backups restore: restore them to scratch space, check the result, and remove it
    #[command(after_help = drill::AFTER_HELP)]
    Drill(drill::DrillArgs),

    /// Run one drill: started by `drill` and `run`, in a process of its own
    #[command(name = WORKER_COMMAND, hide = true)]
    DrillWorker,

    /// Ask a running agent whether it is healthy
    #[command(after_help = healthcheck::AFTER_HELP)]
    Healthcheck(healthcheck::HealthcheckArgs),

    /// Try out the receivers of alerts
    Notify(notify::NotifyArgs),

    /// Examine the configuration
    Config(ConfigArgs),

    /// List every metric with its labels and meaning
    Metrics(MetricsArgs),

    /// Explain a check: what it means, what it says right now, and what to do about it
    #[command(after_help = why::AFTER_HELP)]
    Why(why::WhyArgs),

    /// Print the checks as rules for Prometheus, or an example for Alertmanager
    #[command(after_help = rules::AFTER_HELP)]
    Rules(rules::RulesArgs),

    /// Print a dashboard for Grafana
    #[command(after_help = dashboards::AFTER_HELP)]
    Dashboards(dashboards::DashboardsArgs),

    /// Watch a demo database with a built-in replicator, and optionally see replication break
    #[command(after_help = "\
Everything happens in a temporary directory that is removed at the end. The built-in replicator writes genuine \
Litestream files; it is a peer for demonstrations and tests, not a replacement.

Examples:
  streamgauge demo
  streamgauge demo --fault stall --fault-after 20s")]
    Demo(DemoArgs),

    /// Write and replicate the demo's database: started by `demo`, in a process of its own
    #[command(name = PEER_COMMAND, hide = true)]
    DemoPeer(PeerArgs),

    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  streamgauge completions bash > /etc/bash_completion.d/streamgauge")]
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Commands whose exit code is a verdict: 3 is Nagios's "unknown", for whatever kept them from finding out.
const VERDICTS: [&str; 4] = ["check", "restorable", "cost", "drill"];

/// Whether the command that was called is one of [`VERDICTS`].
pub fn gives_verdict() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| VERDICTS.iter().any(|command| word == *command))
}

/// Parses the command line. Help, version and mistakes are answered here and end the program, mistakes with exit code
/// 2, or 3 for those of [`VERDICTS`], where 2 says that something is critical or has failed.
pub fn parse() -> Cli {
    Cli::try_parse().map_err(without_hidden).unwrap_or_else(|error| {
        if error.use_stderr() && gives_verdict() {
            // There is nowhere left to complain to.
            let _ = error.print();
            std::process::exit(3);
        }
        error.exit()
    })
}

/// Suggests no command that only streamgauge itself starts.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::Strings(mut names)) = error.remove(ContextKind::SuggestedSubcommand) {
        let command = Cli::command();
        names.retain(|name| command.find_subcommand(name).is_some_and(|known| !known.is_hide_set()));
        if !names.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
        }
    }
    error
}

#[cfg(test)]
mod tests;
