//! Reading the configuration anew, beside everything else.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::{Agent, ReloadRequest, after};
use crate::domain::limits::{CONFIG_READ_PATIENCE, CONFIG_READ_TIMEOUT, CONFIG_READS_HANGING_MAX};
use crate::domain::moment::Moment;
use crate::usecase::ports::Configured;

/// A reading of the configuration that has begun.
pub(super) struct Reading {
    task: JoinHandle<Result<Configured, String>>,
    started: Moment,
    /// Who asked for it; nobody for the agent's own.
    requests: Vec<ReloadRequest>,
    /// Who asked since it began.
    next: Vec<ReloadRequest>,
}

impl Reading {
    fn takes_longer_than(&self, patience: Duration, now: Moment) -> bool {
        now.since(self.started).unsigned_abs() > patience
    }
}

/// Readings whose end nobody waits for any more, because a filesystem keeps them.
pub(super) type Hanging = Vec<JoinHandle<Result<Configured, String>>>;

/// What the reading that has begun read; pending for ever when there is none.
pub(super) async fn configuration(reading: &mut Option<Reading>) -> Result<Configured, String> {
    match reading {
        Some(reading) => (&mut reading.task).await.map_err(|error| error.to_string()).flatten(),
        None => std::future::pending().await,
    }
}

impl Agent {
    /// Reads the configuration, or has whoever asks wait for the reading that comes next.
    pub(super) fn reload(&mut self, request: ReloadRequest) {
        let now = self.clock.now();
        match &mut self.reading {
            None => self.read_configuration(vec![request]),
            Some(reading) if reading.takes_longer_than(CONFIG_READ_PATIENCE, now) => {
                // It may hang for ever, and the file that is there by now may be another one.
                let mut requests = self.leave_reading();
                requests.push(request);
                self.read_configuration(requests);
            }
            // What is being read may be older than the request.
            Some(reading) => reading.next.push(request),
        }
    }

    /// Gives up the reading that has begun and returns who waits for it.
    fn leave_reading(&mut self) -> Vec<ReloadRequest> {
        let Some(Reading { task, mut requests, next, .. }) = self.reading.take() else { return Vec::new() };
        self.hanging.push(task);
        requests.extend(next);
        requests
    }

    /// Begins to read the configuration, for which nothing else waits: its files may be on a filesystem that hangs.
    pub(super) fn read_configuration(&mut self, requests: Vec<ReloadRequest>) {
        self.hanging.retain(|task| !task.is_finished());
        if self.hanging.len() >= CONFIG_READS_HANGING_MAX {
            return self.not_read(requests, format!("{CONFIG_READS_HANGING_MAX} earlier readings still hang"));
        }
        let configuration = Arc::clone(&self.configuration);
        let names = self.configured.names.clone();
        let task = spawn_blocking(move || configuration.load(names));
        self.reading = Some(Reading { task, started: self.clock.now(), requests, next: Vec::new() });
    }

    /// Reads the configuration when it is time to, and gives up a reading that takes too long.
    pub(super) fn discover(&mut self, now: Moment) {
        match &self.reading {
            Some(reading) if reading.takes_longer_than(CONFIG_READ_TIMEOUT, now) => {
                let requests = self.leave_reading();
                let minutes = CONFIG_READ_TIMEOUT.as_secs() / 60;
                self.not_read(requests, format!("not done after {minutes} minutes"));
            }
            None if now.mono >= self.next_discovery.mono => self.read_configuration(Vec::new()),
            _ => {}
        }
    }

    /// The configuration could not even be looked at: what the sources hold is not known.
    fn not_read(&mut self, requests: Vec<ReloadRequest>, why: String) {
        let why = format!("read configuration: {why}; look for a filesystem that hangs, such as a dead network mount");
        for source in &mut self.agent.sources {
            source.success = false;
            source.error = Some(why.clone());
        }
        self.conclude_reading(requests, Err(why));
    }

    /// Takes over a configuration that was read; one with mistakes changes nothing.
    pub(super) fn take_configuration(&mut self, read: Result<Configured, String>) {
        let Some(Reading { requests, next, .. }) = self.reading.take() else { return };
        self.conclude_reading(requests, read);
        if !next.is_empty() {
            self.read_configuration(next);
        }
    }

    fn conclude_reading(&mut self, requests: Vec<ReloadRequest>, read: Result<Configured, String>) {
        let now = self.clock.now();
        let result = match read {
            Ok(configured) => {
                self.agent.config.last_reload_success_at = Some(now.wall);
                self.adopt(configured, !requests.is_empty(), now);
                Ok(())
            }
            Err(problems) => {
                if self.agent.config.error.as_ref() != Some(&problems) {
                    tracing::error!(%problems, "configuration not read, the one before stays in force");
                }
                Err(problems)
            }
        };
        self.next_discovery = after(now, self.configured.pace.discovery);
        let told = self.agent.config.last_reload_successful != result.is_ok();
        self.agent.config.last_reload_successful = result.is_ok();
        self.agent.config.error = result.as_ref().err().cloned();
        if result.is_ok() && !requests.is_empty() {
            tracing::info!(databases = self.subjects.len(), "configuration reloaded");
        }
        if told || !requests.is_empty() {
            self.publish();
        }
        for request in requests {
            // Whoever asked may have gone.
            let _ = request.send(result.clone());
        }
    }
}
