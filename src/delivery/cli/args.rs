//! The arguments that several commands take, and those of commands without a word of their own to add.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Args, Subcommand, ValueEnum};

use super::output::typed;
use crate::delivery::demo::fault;
use crate::delivery::render::metrics::catalogue;
use crate::domain::litestream::ObjectName;
use crate::domain::verification::VerifyDepth;
use crate::infrastructure::config::{LOG_LEVELS, LogFormat, read_duration};
use crate::usecase::restore::name_of;

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

impl SourceArgs {
    /// A command of this program, which finds the same configuration.
    pub fn command(&self, words: &str) -> String {
        let mut command = format!("streamgauge {words}");
        let own = self.config_file.iter().map(|path| ("--config.file", path));
        for (flag, path) in own.chain(self.litestream_config.iter().map(|path| ("--litestream.config", path))) {
            command += &format!(" {flag} {}", typed(path));
        }
        command
    }
}

/// Objects that a plan does without; the same for `restore` and `restorable`.
#[derive(Args, Clone, Debug, Default)]
pub struct WithoutArgs {
    /// Plan without this object, as if it were damaged [repeatable]
    #[arg(long, value_name = "KEY", value_parser = object)]
    pub without: Vec<ObjectName>,
}

/// Reads the key of an object.
fn object(key: &str) -> Result<ObjectName, String> {
    name_of(key).ok_or_else(|| {
        "expected a key below the replica, such as ltx/9/0000000000000001-0000000000000002.ltx".to_owned()
    })
}

#[derive(Args, Debug, Default)]
pub struct RunArgs {
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Address to listen on: host:port, [ipv6]:port, :port for all interfaces, or unix:/path [repeatable] [default: 127.0.0.1:10099]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub web_listen_address: Vec<String>,

    /// File that says who may connect: TLS, users and more, in the format of the Prometheus exporter toolkit
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,

    /// Listen on the sockets that systemd passes instead of --web.listen-address
    #[arg(long = "web.systemd-socket")]
    pub web_systemd_socket: bool,

    /// Watch only this part of what is configured, as one of several agents counted from 0: 0/3, or hostname/3 for the
    /// number at the end of the host's name
    #[arg(long, value_name = "INDEX/COUNT")]
    pub shard: Option<String>,

    /// Directory for what has to survive a restart; '' keeps nothing
    #[arg(long = "storage.path", value_name = "DIRECTORY", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub storage_path: Option<PathBuf>,

    #[command(flatten)]
    pub log: LogArgs,
}

/// Log options of the command line; those that are not given come from the configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct LogArgs {
    /// Least severe messages to log [default: info]
    #[arg(long = "log.level", value_name = "LEVEL", value_parser = words(&LOG_LEVELS))]
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

/// How the findings of a look are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    Table,
    Json,
    /// The text format of Prometheus, as the agent exports it
    Prometheus,
    /// One line with performance data
    Nagios,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Only these databases, by name or path [default: all]
    #[arg(value_name = "DATABASE")]
    pub databases: Vec<String>,

    #[command(flatten)]
    pub sources: SourceArgs,

    #[arg(long, value_enum, default_value_t = CheckFormat::Table)]
    pub format: CheckFormat,

    /// Write to this file, replacing it atomically [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Show every database in full, however many there are
    #[arg(short, long)]
    pub verbose: bool,

    /// What to read of the objects that a restore needs: nothing, their structure (within a few hundred requests per
    /// replica), or all of their content
    #[arg(long, value_name = "DEPTH", value_parser = choice(DEPTHS), default_value = "structure")]
    pub verify: VerifyDepth,

    /// How long to wait for the commits seen at the start to reach the replica
    #[arg(long, value_name = "DURATION", value_parser = read_duration, default_value = "5s")]
    pub wait: Duration,
}

const DEPTHS: [(&str, VerifyDepth); 3] =
    [("none", VerifyDepth::None), ("structure", VerifyDepth::Structure), ("content", VerifyDepth::Content)];

#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration, report every problem in it, and list what would be watched
    Check(ConfigCheckArgs),
}

#[derive(Args, Debug)]
pub struct ConfigCheckArgs {
    #[command(flatten)]
    pub sources: SourceArgs,

    /// The file that `run` gets as --web.config.file
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct MetricsArgs {
    #[arg(long, value_parser = choice(REFERENCES), default_value = "table")]
    pub format: Reference,
}

/// A form of the reference of metrics.
type Reference = fn() -> String;

const REFERENCES: [(&str, Reference); 3] =
    [("table", catalogue::table), ("markdown", catalogue::markdown), ("json", catalogue::json)];

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// What to break
    #[arg(long, value_parser = fault::possible_values())]
    pub fault: Option<String>,

    /// How long after the start to break it
    #[arg(long, value_name = "DURATION", value_parser = read_duration, default_value = "20s")]
    pub fault_after: Duration,

    /// End the fault after this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = read_duration, requires = "fault")]
    pub fault_for: Option<Duration>,

    /// Address to listen on [repeatable] [default: 127.0.0.1:10099]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub web_listen_address: Vec<String>,
}

/// A closed set of words, as the configuration has them.
fn words<T>(words: &[(&'static str, T)]) -> PossibleValuesParser {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word))
}

/// As [`words`], read as what they stand for.
pub fn choice<T: Copy + Send + Sync + 'static>(choices: impl IntoIterator<Item = (&'static str, T)>) -> ValueParser {
    let choices: Vec<_> = choices.into_iter().collect();
    let words = words(&choices);
    let meant = move |word: String| choices.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    words.try_map(move |word| meant(word).ok_or("no such word")).into()
}

/// The same of all there is of an enumeration, such as `Severity::ALL` with `Severity::as_str`.
pub fn choice_of<T: Copy + Send + Sync + 'static>(all: &[T], word: fn(T) -> &'static str) -> ValueParser {
    choice(all.iter().map(|value| (word(*value), *value)))
}
