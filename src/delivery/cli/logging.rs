//! Where log lines go: to standard error, one line each, for a person (logfmt) or a machine (JSON).

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

use crate::domain::printable::printable_character;
use crate::infrastructure::config::{Log, LogFormat};

/// Libraries that also repeat what servers say, which may hold a credential.
const SILENT: [&str; 3] = ["async_nats", "russh", "russh_sftp"];

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
    let filter = Targets::new()
        .with_default(log.level.min(LevelFilter::WARN))
        .with_targets(SILENT.map(|library| (library, LevelFilter::OFF)))
        .with_target("streamgauge", log.level);
    let layer = match log.format {
        LogFormat::Logfmt => {
            tracing_logfmt::builder().with_target(false).layer().with_writer(move || Printable(out())).boxed()
        }
        LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(out).boxed(),
    };
    registry().with(layer.with_filter(filter))
}

/// Lines whose texts come from files and servers, and that a terminal shows.
struct Printable<W>(W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::with_capacity(bytes.len());
        for character in String::from_utf8_lossy(bytes).chars() {
            match character {
                '\n' => text.push('\n'),
                other => text.extend(printable_character(other)),
            }
        }
        self.0.write_all(text.as_bytes()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
    fn a_line_does_not_drive_the_terminal() {
        let mut out = Vec::new();
        let written = Printable(&mut out).write("level=warn file=\"a\u{1b}[2J\u{202e}b\" ä\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "level=warn file=\"a\\u{1b}[2J\\u{202e}b\" ä\n");
        assert_eq!(written, "level=warn file=\"a\u{1b}[2J\u{202e}b\" ä\n".len());
    }
}
