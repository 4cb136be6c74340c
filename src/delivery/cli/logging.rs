//! Where log lines go: to standard error, one line each, for a person (logfmt) or a machine (JSON).

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

use crate::infrastructure::config::{Log, LogFormat, LogLevel};

/// Sets up logging for the rest of the process. The libraries below us only speak from warnings on, because at `debug`
/// they would print headers, and a header can be a credential.
pub fn init(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("streamgauge", level);
    let result = match log.format {
        LogFormat::Logfmt => {
            let layer = tracing_logfmt::builder().layer().with_writer(std::io::stderr);
            registry().with(layer.with_filter(filter)).try_init()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry().with(layer.with_filter(filter)).try_init()
        }
    };
    // Only a second call could fail, and then the first one's setting is as good.
    let _ = result;
}
