//! Reading the configuration anew, beside everything else.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use super::{Agent, ReloadRequest, after};
use crate::usecase::ports::Configured;

/// A reading of the configuration that has begun.
pub(super) struct Reading {
    task: JoinHandle<Result<Configured, String>>,
    /// Who asked for it; nobody for the agent's own.
    requests: Vec<ReloadRequest>,
    /// Who asked since it began.
    next: Vec<ReloadRequest>,
}

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
        match &mut self.reading {
            // What is being read may be older than the request.
            Some(reading) => reading.next.push(request),
            None => self.read_configuration(vec![request]),
        }
    }

    /// Begins to read the configuration, for which nothing else waits: its files may be on a filesystem that hangs.
    pub(super) fn read_configuration(&mut self, requests: Vec<ReloadRequest>) {
        let configuration = Arc::clone(&self.configuration);
        let names = self.configured.names.clone();
        let task = spawn_blocking(move || configuration.load(names));
        self.reading = Some(Reading { task, requests, next: Vec::new() });
    }

    /// Takes over a configuration that was read; one with mistakes changes nothing.
    pub(super) fn take_configuration(&mut self, read: Result<Configured, String>) {
        let Some(Reading { requests, next, .. }) = self.reading.take() else { return };
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
        if !next.is_empty() {
            self.read_configuration(next);
        }
    }
}
