//! The command line: its words here, in the style of Prometheus's own programs, and one file for what is printed.

pub mod check;
pub mod config_check;
pub mod demo;
pub mod drill;
pub mod drill_progress;
pub mod drill_worker;
pub mod logging;
pub mod notify;
pub mod output;
pub mod progress;
pub mod restorable;
pub mod restore;
pub mod restore_words;
pub mod rules;
pub mod run;
pub mod sources;
pub mod table;
pub mod when;
pub mod why;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::delivery::demo::{PEER_COMMAND, PeerArgs, fault};
use crate::infrastructure::config::{LogFormat, LogLevel, read_duration};
use crate::infrastructure::drill::process::WORKER_COMMAND;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision of this build, from `STREAMGAUGE_REVISION` in the environment of the compiler.
pub const REVISION: &str = match option_env!("STREAMGAUGE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

static LONG_VERSION: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));

/// Tells what could be restored right now, for every SQLite database that Litestream replicates
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
Signals: SIGHUP and POST /-/reload read the configuration again; SIGTERM and SIGINT stop the agent. Changes to [web], \
[storage], [log], replica.timeout and replica.ca-file take effect only after a restart.

Every option of the configuration file can also be set in the environment (STREAMGAUGE__...). Flags override the \
environment, the environment overrides the file, and the file overrides the defaults.

Examples:
  streamgauge run --litestream.config /etc/litestream.yml
  streamgauge run --config.file /etc/streamgauge.toml --web.listen-address :10099")]
    Run(RunArgs),

    /// Look once, and tell for each database what could be restored
    #[command(after_help = "\
Exit code: 0 all is well, 1 warning, 2 critical, 3 unknown. Suitable for cron, Nagios and CI. Anything that prevents the \
look, such as a mistake in the configuration or on the command line, is also unknown: nothing is known to be broken.

Databases are looked at first, then their replicas. A replica that is behind its database is given --wait to catch up.

Examples:
  streamgauge check --litestream.config /etc/litestream.yml
  streamgauge check orders --format json | jq '.databases[].replicas[].lag_seconds'")]
    Check(CheckArgs),

    /// Restore a database from its replica, without Litestream
    #[command(after_help = restore::AFTER_HELP)]
    Restore(restore::RestoreArgs),

    /// Show to which points in time a replica can be restored, and what stands in the way of the others
    #[command(after_help = restorable::AFTER_HELP)]
    Restorable(restorable::RestorableArgs),

    /// Prove that backups restore: restore them to scratch space, check the result, and remove it
    #[command(after_help = drill::AFTER_HELP)]
    Drill(drill::DrillArgs),

    /// Run one drill: started by `drill` and `run`, in a process of its own
    #[command(name = WORKER_COMMAND, hide = true)]
    DrillWorker,

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

/// Where databases come from; the same for `run`, `check` and `config check`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceArgs {
    /// streamgauge's own configuration file
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Litestream's configuration file, v0.3 or v0.5 [repeatable]
    #[arg(long = "litestream.config", value_name = "FILE")]
    pub litestream_config: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Address to listen on: host:port, [ipv6]:port, or :port for all interfaces [repeatable] [default: 127.0.0.1:10099]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub web_listen_address: Vec<String>,

    /// Directory for what is remembered across restarts
    #[arg(long = "storage.path", value_name = "DIRECTORY")]
    pub storage_path: Option<PathBuf>,

    #[command(flatten)]
    pub log: LogArgs,
}

/// Log options of the command line; those that are not given come from the configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct LogArgs {
    /// Least severe messages to log [default: info]
    #[arg(long = "log.level", value_name = "LEVEL", value_parser = words(&LogLevel::WORDS))]
    pub level: Option<String>,

    /// Format of the log messages on standard error [default: logfmt]
    #[arg(long = "log.format", value_name = "FORMAT", value_parser = words(&LogFormat::WORDS))]
    pub format: Option<String>,
}

/// How a finding is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Only these databases, by name or path [default: all]
    #[arg(value_name = "DATABASE")]
    pub databases: Vec<String>,

    #[command(flatten)]
    pub sources: SourceArgs,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// How much to read of the objects that a restore needs: none of them, their structure (at most 32 requests per
    /// replica), or all of their content
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t = CheckVerify::Structure)]
    pub verify: CheckVerify,

    /// How long the commits seen at the start may take to reach the replica
    #[arg(long, value_name = "DURATION", value_parser = read_duration, default_value = "5s")]
    pub wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckVerify {
    None,
    Structure,
    Content,
}

#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration, report every problem in it, and list what would be watched
    Check(SourceArgs),
}

#[derive(Args, Debug)]
pub struct MetricsArgs {
    #[arg(long, value_enum, default_value_t = MetricsFormat::Table)]
    pub format: MetricsFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsFormat {
    Table,
    Markdown,
    Json,
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// What to break
    #[arg(long, value_parser = fault::possible_values())]
    pub fault: Option<String>,

    /// How long after the start to break it
    #[arg(long, value_name = "DURATION", value_parser = read_duration, default_value = "20s")]
    pub fault_after: Duration,

    /// Address to listen on [repeatable] [default: 127.0.0.1:10099]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub web_listen_address: Vec<String>,
}

/// A closed set of words, as the configuration has them.
fn words<T>(words: &[(&'static str, T)]) -> PossibleValuesParser {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word))
}

/// Commands whose exit code is a verdict: 3 is Nagios's "unknown", for whatever kept them from finding out.
const VERDICTS: [&str; 3] = ["check", "restorable", "drill"];

/// Parses the command line. Help, version and mistakes are answered here and end the program, mistakes with exit code
/// 2, or 3 for those of [`VERDICTS`], where 2 says that something is critical or has failed.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let verdict = std::env::args_os().nth(1).is_some_and(|word| VERDICTS.iter().any(|command| word == *command));
        if error.use_stderr() && verdict {
            // There is nowhere left to complain to.
            let _ = error.print();
            std::process::exit(3);
        }
        error.exit()
    })
}

#[cfg(test)]
mod tests;
