//! Where log lines go: to standard error, one line each, for a person (logfmt) or a machine (JSON).

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

use crate::delivery::render::json::harmless;
use crate::domain::printable::printable_character;
use crate::infrastructure::config::{Log, LogFormat};

/// Libraries that also repeat what servers say, which may hold a credential.
const SILENT: [&str; 3] = ["async_nats", "russh", "russh_sftp"];

/// Libraries that say as an error what is none: what came of a request is said by us. A person who looks for it asks for `debug`.
const CHATTY: [&str; 1] = ["aws_smithy_runtime"];

/// Libraries that warn of what strangers send them. A person who looks for it asks for `debug`.
const ABOUT_STRANGERS: [&str; 2] = ["h2", "hyper"];

/// As [`init`], for a command whose answer is what it prints: the log is for what cannot be in it.
pub fn init_from(level: LevelFilter) {
    init(&Log { level, format: LogFormat::Logfmt });
}

/// Sets up logging for the rest of the process. The libraries below us only speak from warnings on, because at `debug`
/// they would print headers, and a header can be a credential.
pub fn init(log: &Log) {
    // Only a second call could fail, and then the first one's setting is as good.
    let _ = subscriber(log, io::stderr).try_init();
}

/// What writes log lines to whatever `out` gives.
pub fn subscriber<W: Write + 'static>(
    log: &Log,
    out: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync + 'static {
    let unless_asked = |most| if log.level >= LevelFilter::DEBUG { LevelFilter::WARN } else { log.level.min(most) };
    let filter = Targets::new()
        .with_default(log.level.min(LevelFilter::WARN))
        .with_targets(SILENT.map(|library| (library, LevelFilter::OFF)))
        .with_targets(ABOUT_STRANGERS.map(|library| (library, unless_asked(LevelFilter::ERROR))))
        .with_targets(CHATTY.map(|library| (library, unless_asked(LevelFilter::OFF))))
        .with_target("streamgauge", log.level);
    let layer = match log.format {
        LogFormat::Logfmt => {
            let out = move || Printable(out(), printable_lines);
            tracing_logfmt::builder().with_target(false).layer().with_writer(out).boxed()
        }
        LogFormat::Json => {
            let out = move || Printable(out(), harmless);
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(out).boxed()
        }
    };
    registry().with(layer.with_filter(filter))
}

/// Lines whose texts come from files and servers, and that a terminal shows; with what escapes them.
struct Printable<W>(W, fn(String) -> String);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = (self.1)(String::from_utf8_lossy(bytes).into_owned());
        self.0.write_all(text.as_bytes()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn printable_lines(lines: String) -> String {
    lines.split_inclusive('\n').fold(String::with_capacity(lines.len()), |mut text, line| {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        text.extend(line.chars().flat_map(printable_character));
        text + end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_repeat_of_servers_is_not_logged() {
        let (mut read, write) = io::pipe().unwrap();
        let log = Log { level: LevelFilter::TRACE, format: LogFormat::Logfmt };
        let subscriber = subscriber(&log, move || write.try_clone().unwrap());
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "async_nats", "secret");
            tracing::error!(target: "async_nats::connection", "secret");
            tracing::error!(target: "russh::client", "secret");
            tracing::error!(target: "russh_sftp", "secret");
            tracing::warn!(target: "another", "told");
        });
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).unwrap();
        assert!(text.contains("told") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn what_libraries_warn_of_strangers_is_for_those_who_look_for_it() {
        for (level, told) in [("error", 0), ("warn", 0), ("info", 0), ("debug", 2), ("trace", 2)] {
            let (mut read, write) = io::pipe().unwrap();
            let log = Log { level: level.parse().unwrap(), format: LogFormat::Logfmt };
            let subscriber = subscriber(&log, move || write.try_clone().unwrap());
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "aws_smithy_runtime::client::http::connection_poisoning", "chatter");
                tracing::debug!(target: "aws_smithy_runtime::client::http::connection_poisoning", "header");
                tracing::warn!(target: "h2::proto::streams::recv", "stranger");
                tracing::warn!(target: "hyper::proto::h2::server", "stranger");
                tracing::info!(target: "h2::server", "stranger");
                tracing::error!(target: "h2::server", "told");
            });
            let mut text = String::new();
            io::Read::read_to_string(&mut read, &mut text).unwrap();
            assert_eq!(
                (text.matches("chatter").count(), text.matches("header").count()),
                (told / 2, 0),
                "{level}: {text}"
            );
            assert_eq!((text.matches("stranger").count(), text.matches("told").count()), (told, 1), "{level}: {text}");
        }
    }

    #[test]
    fn a_line_does_not_drive_the_terminal() {
        let line = "level=warn file=\"a\u{1b}[2J\u{202e}b\" ä\n";
        let mut out = Vec::new();
        let written = Printable(&mut out, printable_lines).write(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "level=warn file=\"a\\u{1b}[2J\\u{202e}b\" ä\n");
        assert_eq!(written, line.len());
        let (mut read, write) = io::pipe().unwrap();
        let log = Log { level: LevelFilter::INFO, format: LogFormat::Json };
        let subscriber = subscriber(&log, move || write.try_clone().unwrap());
        tracing::subscriber::with_default(subscriber, || tracing::warn!(file = "a\u{7f}\u{9b}2J\u{202e}b", "odd"));
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).unwrap();
        assert!(text.contains(r#""file":"a\u007f\u009b2J\u202eb""#) && text.ends_with('\n'), "{text}");
    }
}
