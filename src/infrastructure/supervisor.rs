//! What the service manager that started this process is told (sd_notify(3)); nothing where none listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Whether anybody listens.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// How long it waits for [`alive`] before it takes the process for dead; `None` where it does not.
pub fn patience() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The configuration is read, and what is served is listened on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "read the monotonic clock"),
    }
}

/// The process is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How things are, in a line for a person.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The agent is at work.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "tell the service manager");
    }
}
