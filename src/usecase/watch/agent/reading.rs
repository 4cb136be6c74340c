//! Reading the configuration anew, beside everything else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Agent, ReloadRequest};
use crate::domain::limits::{
    CONFIG_GLANCE_INTERVAL, CONFIG_READ_PATIENCE, CONFIG_READ_TIMEOUT, CONFIG_READS_HANGING_MAX, CONFIG_UNREAD_MAX,
};
use crate::domain::moment::{Moment, signed};
use crate::usecase::ports::{AskedBy, Configuration, Configured, Same};

/// A configuration that was read; `None`: the one that is in force.
pub(super) type Read = Result<Option<Configured>, String>;

/// When the configuration is read, and who waits for that.
pub(super) struct Reading {
    configuration: Arc<dyn Configuration>,
    /// The reading that has begun.
    current: Option<Current>,
    /// Readings whose end nobody waits for any more, because a filesystem keeps them.
    hanging: Vec<JoinHandle<Read>>,
    /// When it is read although nobody asks.
    next: Moment,
    /// When it was read, and not only seen to be the same.
    read: Moment,
    glances: Glances,
}

/// Looks at the files of the configuration in force, so that a change is taken in before anything is concluded from what
/// was configured before. They may be on a filesystem that hangs.
struct Glances {
    current: Option<JoinHandle<Option<u64>>>,
    /// When the next one begins.
    next: Moment,
    /// Another version of the files, which may still be written.
    seen: Option<u64>,
    /// The version that was read for being another one.
    tried: Option<u64>,
}

impl Glances {
    /// Whether there is another version of the files, which two looks in a row have seen and which was not read yet.
    fn notice(&mut self, version: Option<u64>) -> bool {
        let before = std::mem::replace(&mut self.seen, version);
        let settled = version.is_some() && version == before && version != self.tried;
        if settled {
            self.tried = version;
        }
        settled
    }
}

/// A reading that has begun.
struct Current {
    task: JoinHandle<Read>,
    started: Moment,
    /// Who asked for it; nobody for the agent's own.
    requests: Vec<ReloadRequest>,
    /// Who asked since it began.
    next: Vec<ReloadRequest>,
}

impl Current {
    fn takes_longer_than(&self, patience: Duration, now: Moment) -> bool {
        now.since(self.started).unsigned_abs() > patience
    }
}

impl Reading {
    pub(super) fn new(configuration: Arc<dyn Configuration>, next: Moment, now: Moment) -> Self {
        let glances = Glances { current: None, next: now, seen: None, tried: None };
        Self { configuration, current: None, hanging: Vec::new(), next, read: next, glances }
    }

    /// Waits for the result of the current read; pending forever if there is none.
    pub(super) async fn ended(&mut self) -> Read {
        match &mut self.current {
            Some(current) => (&mut current.task).await.map_err(|error| error.to_string()).flatten(),
            None => std::future::pending().await,
        }
    }

    /// Gives up the reading that has begun and returns who waits for it.
    fn leave(&mut self) -> Vec<ReloadRequest> {
        let Some(Current { task, mut requests, next, .. }) = self.current.take() else { return Vec::new() };
        self.hanging.push(task);
        requests.extend(next);
        requests
    }
}

impl Agent {
    /// Reads the configuration, or has whoever asks wait for the reading that comes next.
    pub(super) fn reload(&mut self, request: ReloadRequest, now: Moment) {
        match &mut self.reading.current {
            None => self.read_configuration(vec![request], now),
            Some(reading) if request.0 == AskedBy::Owner && reading.takes_longer_than(CONFIG_READ_PATIENCE, now) => {
                // It may hang for ever, and the file that is there by now may be another one. Or it lists a large place: whoever
                // comes along may not have it begin anew without end.
                let mut requests = self.reading.leave();
                requests.push(request);
                self.read_configuration(requests, now);
            }
            // What is being read may be older than the request.
            Some(reading) => reading.next.push(request),
        }
    }

    /// Begins to read the configuration, for which nothing else waits: its files may be on a filesystem that hangs.
    fn read_configuration(&mut self, requests: Vec<ReloadRequest>, now: Moment) {
        self.reading.hanging.retain(|task| !task.is_finished());
        if self.reading.hanging.len() >= CONFIG_READS_HANGING_MAX {
            return self.not_read(requests, format!("{CONFIG_READS_HANGING_MAX} earlier reads still hang"), now);
        }
        let configuration = Arc::clone(&self.reading.configuration);
        let names = self.shared.configured.names.clone();
        let asked = asked_by(&requests);
        let recent = now.since(self.reading.read) < signed(CONFIG_UNREAD_MAX);
        // A source that is not believed, or could not be read, is read until that ends.
        let settled = asked == AskedBy::Nobody && recent && self.report.sources.iter().all(|source| source.success);
        let same = if settled { self.shared.configured.same.clone() } else { Same::default() };
        let task = spawn_blocking(move || {
            let read = || configuration.load(names, asked).map(Some);
            if same.is_sure() { Ok(None) } else { read() }
        });
        self.reading.current = Some(Current { task, started: now, requests, next: Vec::new() });
    }

    /// Whether the files of the configuration in force have changed since it was read.
    fn glance(&mut self, now: Moment) -> bool {
        let Reading { glances, current: None, .. } = &mut self.reading else { return false };
        if let Some(current) = &mut glances.current {
            let Some(version) = current.now_or_never() else { return false };
            glances.current = None;
            return glances.notice(version.unwrap_or_default());
        }
        if now.mono() >= glances.next.mono()
            && let Some(origin) = self.shared.configured.same.origin()
        {
            glances.next = now.after(CONFIG_GLANCE_INTERVAL);
            glances.current = Some(spawn_blocking(move || origin.other_version()));
        }
        false
    }

    /// Reads the configuration when it is time to or its files have changed, and gives up a reading that takes too long.
    pub(super) fn discover(&mut self, now: Moment) {
        let changed = self.glance(now);
        match &self.reading.current {
            Some(reading) if reading.takes_longer_than(CONFIG_READ_TIMEOUT, now) => {
                let requests = self.reading.leave();
                let minutes = CONFIG_READ_TIMEOUT.as_secs() / 60;
                self.not_read(requests, format!("not finished after {minutes} minutes"), now);
            }
            None if changed || now.mono() >= self.reading.next.mono() => self.read_configuration(Vec::new(), now),
            _ => {}
        }
    }

    /// The configuration could not even be looked at: what the sources hold is not known.
    fn not_read(&mut self, requests: Vec<ReloadRequest>, why: String, now: Moment) {
        let why = format!("read configuration: {why}; look for a hanging filesystem, such as a dead network mount");
        for source in &mut self.report.sources {
            source.success = false;
            source.error = Some(why.clone());
        }
        self.conclude_reading(requests, Err(why), now);
    }

    /// Takes over a configuration that was read; one with mistakes changes nothing.
    pub(super) fn take_configuration(&mut self, read: Read, now: Moment) {
        let Some(Current { requests, next, .. }) = self.reading.current.take() else { return };
        self.conclude_reading(requests, read, now);
        if !next.is_empty() {
            self.read_configuration(next, now);
        }
    }

    fn conclude_reading(&mut self, requests: Vec<ReloadRequest>, read: Read, now: Moment) {
        let by = asked_by(&requests);
        let (asked, owner) = (by > AskedBy::Nobody, by == AskedBy::Owner);
        let before = self.shared.fleet.subjects.len();
        let result = read.map(|read| {
            if let Some(configured) = read {
                self.reading.read = now;
                self.adopt(configured, owner, now);
            }
        });
        let config = &mut self.report.config;
        // Whoever asked is told a line each; everybody else, all in one.
        let error = result.as_ref().err().map(|problems| problems.replace('\n', "; "));
        match &error {
            None => config.last_reload_success_at = Some(now.wall()),
            same if config.error == *same => {}
            Some(problems) => {
                tracing::error!(problems, "cannot read the configuration; the previous one stays in force")
            }
        }
        let told = config.last_reload_successful != result.is_ok();
        config.last_reload_successful = result.is_ok();
        config.error = error;
        self.reading.next = now.after(self.shared.configured.pace.discovery);
        let databases = self.shared.fleet.subjects.len();
        let replicas: usize = self.shared.fleet.subjects.values().map(|subject| subject.replicas.len()).sum();
        if result.is_ok() && (asked || told) {
            // They are among the others until they have been gone for long enough.
            let leaving = self.shared.fleet.subjects.values().filter(|subject| subject.gone_since.is_some()).count();
            let leaving = (leaving > 0).then_some(leaving);
            tracing::info!(databases, leaving, replicas, "configuration reloaded");
        } else if databases > before {
            tracing::info!(databases, replicas, "more databases are watched");
        }
        if told || asked {
            self.publish(now);
        }
        for (_, request) in requests {
            // Whoever asked may have gone.
            let _ = request.send(result.clone());
        }
    }
}

/// The most trusted of those who wait for a reading.
fn asked_by(requests: &[ReloadRequest]) -> AskedBy {
    requests.iter().map(|(by, _)| *by).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_changed_are_read_once_nobody_writes_them_any_more() {
        let next = Moment::new(jiff::Timestamp::UNIX_EPOCH, jiff::SignedDuration::ZERO);
        let mut glances = Glances { current: None, next, seen: None, tried: None };
        let mut notice =
            |versions: &[Option<u64>]| versions.iter().map(|version| glances.notice(*version)).collect::<Vec<_>>();
        assert_eq!(notice(&[None, None, Some(1), Some(2)]), [false; 4]);
        // What was read and refused is not read again, but what follows it.
        assert_eq!(notice(&[Some(2), Some(2), Some(3), Some(3)]), [true, false, false, true]);
        // It was taken over, and changes again.
        assert_eq!(notice(&[None, Some(4), Some(4)]), [false, false, true]);
    }
}
