//! What a subject says of its database and replicas, and when that is news.

use std::sync::Arc;

use jiff::SignedDuration;

use super::Subject;
use crate::domain::assess::permissions::{ModeReport, is_harmless, problem};
use crate::domain::assess::trend::{SPACE, Trend};
use crate::domain::assessment::{
    DatabaseReport, DatabaseState, FilesystemReport, LitestreamEvidence, LitestreamReport, LocalReport,
    ObjectivesReport,
};
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, DatabasePosture, FileMode, Filesystem, Journal, Sighting};
use crate::domain::reason::ReasonKind;
use crate::domain::target::Objectives;
use crate::usecase::ports::Pace;
use crate::usecase::watch::saved::ToSave;

/// How long it may take until a look that showed nothing new is shown.
const QUIET_MAX: SignedDuration = SignedDuration::from_mins(5);

impl Subject {
    /// Builds the report anew if it is another one now, which is not the case of most looks by the sweep; says whether it is.
    /// That it was looked at again is no news of its own for a while.
    pub(in crate::usecase::watch) fn refresh(&mut self, pace: &Pace, now: Moment) -> bool {
        let mut report = self.build(pace, now);
        let mut at_rest = false;
        if let (Some(local), Some(before)) = (report.local.as_mut().and_then(Arc::get_mut), &self.report.local) {
            let (observed_at, rates) = (local.observed_at, local.rates);
            local.observed_at = before.observed_at;
            if let (Some(rates), Some(before)) = (&mut local.rates, &before.rates) {
                rates.window_seconds = before.window_seconds;
            }
            let written = |local: &LocalReport| (local.counters, local.size_bytes, local.wal_size_bytes);
            at_rest = written(local) == written(before);
            match *local == **before && observed_at.duration_since(before.observed_at).abs() < QUIET_MAX {
                true => report.local = Some(Arc::clone(before)),
                false => (local.observed_at, local.rates) = (observed_at, rates),
            }
            if report == *self.report {
                return false;
            }
        }
        self.publish(report, at_rest, now);
        true
    }

    /// Builds the report anew.
    pub(in crate::usecase::watch) fn rebuild(&mut self, pace: &Pace, now: Moment) {
        let report = self.build(pace, now);
        self.publish(report, false, now);
    }

    /// Shares with the reports of other databases what is the same in them.
    pub(in crate::usecase::watch) fn share(&mut self, alike: &mut Arc<[ModeReport]>) {
        let local = Arc::get_mut(&mut self.report).and_then(|report| Arc::get_mut(report.local.as_mut()?));
        let Some(local) = local else { return };
        if local.modes == *alike {
            local.modes = Arc::clone(alike);
        } else {
            *alike = Arc::clone(&local.modes);
        }
    }

    /// `at_rest`: looks at the database have shown that nothing was written.
    fn publish(&mut self, report: DatabaseReport, at_rest: bool, now: Moment) {
        if std::mem::take(&mut self.looked) {
            if at_rest { self.to_save.looked(now) } else { self.to_save = ToSave::News }
        }
        self.report = Arc::new(report);
    }

    fn build(&mut self, pace: &Pace, now: Moment) -> DatabaseReport {
        let prices = self.target.drill.prices;
        let state = self.state();
        let mut replicas = Vec::with_capacity(self.replicas.len());
        for replica in &mut self.replicas {
            let exposure = replica.exposure(self.target.objectives.rpo, now);
            if replica.note_lag(&exposure, state, now) {
                self.to_save = ToSave::News;
            }
            replicas.push(replica.report(&exposure, pace, &prices));
        }
        DatabaseReport {
            name: self.target.name.clone(),
            state,
            reason: self.failure.clone(),
            local: self.local(now).map(Arc::new),
            rpo_seconds: self.target.objectives.rpo.as_secs_f64(),
            objectives: wanted(&self.target.objectives),
            replicas,
            metrics: self.target.objectives.metrics,
        }
    }

    pub(super) fn state(&self) -> DatabaseState {
        match (&self.target.database, &self.failure, &self.look) {
            (None, ..) => DatabaseState::Remote,
            (_, Some(reason), _) if reason.kind == ReasonKind::NotFound => DatabaseState::Missing,
            (_, Some(_), _) => DatabaseState::Unreadable,
            (_, None, Some(_)) => DatabaseState::Monitored,
            (_, None, None) => DatabaseState::Pending,
        }
    }

    fn local(&self, now: Moment) -> Option<LocalReport> {
        let (files, look) = (self.target.database.as_ref()?, self.look.as_ref()?);
        // What a database that cannot be read was like is not what it is like.
        if self.failure.is_some() {
            return None;
        }
        let wal = match &look.journal {
            Journal::Wal(wal) => Some(wal),
            Journal::WalAbsent { .. } | Journal::Rollback { .. } => None,
        };
        let posture = self.posture.as_ref();
        let staging = posture.and_then(|posture| posture.staging.as_ref());
        let txid_claim = self.claim().map(|txid| txid.0);
        Some(LocalReport {
            path: files.path.display().to_string(),
            observed_at: look.at.wall(),
            polled: self.polled,
            page_size: look.page_size,
            size_bytes: look.size_bytes,
            wal_size_bytes: look.wal_size_bytes,
            journal_mode_wal: !matches!(look.journal, Journal::Rollback { .. }),
            wal_frames: wal.map(|wal| wal.frames),
            wal_backfilled_frames: wal.and_then(|wal| wal.backfilled_frames),
            wal_oldest_reader_frame: wal.and_then(|wal| wal.oldest_reader_frame),
            wal_source: wal.map(|wal| wal.source),
            last_commit_at: look.last_commit,
            counters: look.counters,
            rates: self.rates.rates(now),
            wal_since: wal.and(self.trends.wal).map(|(.., since)| since),
            sizing: self.trends.sizing(look),
            used_objective_ratio: f64::from(self.target.objectives.disk_used_percent) / 100.0,
            modes: posture.map(|posture| self.modes(posture)).unwrap_or_default(),
            filesystem: posture.and_then(|posture| filesystem(posture.filesystem, &self.trends.used)),
            staging_filesystem: posture
                .and_then(|posture| {
                    filesystem(posture.staging_filesystem.as_deref().copied(), &self.trends.staging_used)
                })
                .map(Box::new),
            staging_bytes: staging.map(|staging| staging.bytes),
            lock_holder_pid: posture.and_then(|posture| posture.lock_holder_pid),
            open: posture.and_then(|posture| posture.open),
            replacement: look.replacement.into(),
            litestream: self.target.litestream.then(|| litestream(look, posture)),
            txid_claim,
        })
    }

    fn modes(&self, posture: &DatabasePosture) -> Arc<[ModeReport]> {
        let wanted = &self.target.objectives.permissions;
        let report = |file: &FileMode| {
            let problem = problem(file, &posture.modes, wanted);
            let harmless = problem.is_some() && is_harmless(file, &posture.modes, wanted, posture.reachable);
            ModeReport { found: file.clone(), problem, harmless }
        };
        posture.modes.iter().map(report).collect()
    }
}

fn wanted(objectives: &Objectives) -> ObjectivesReport {
    ObjectivesReport {
        retention_seconds: objectives.retention.map(|retention| retention.as_secs_f64()),
        snapshot_interval_seconds: objectives.snapshot_interval.map(|interval| interval.as_secs_f64()),
    }
}

fn filesystem(space: Option<Filesystem>, used: &Trend) -> Option<FilesystemReport> {
    Some(FilesystemReport { space: space?, filling_bytes_per_second: used.growth(&SPACE) })
}

/// Whether a Litestream runs that could work on the database.
fn litestream(look: &DatabaseLook, posture: Option<&DatabasePosture>) -> LitestreamReport {
    let sighting = posture.map(|posture| posture.litestream).unwrap_or_default();
    let in_wal_mode = !matches!(look.journal, Journal::Rollback { .. });
    // Litestream keeps each of its databases open.
    let closed = in_wal_mode && posture.is_some_and(|posture| posture.open == Some(false));
    let (up, pid, evidence) = match sighting {
        Sighting::Attached(pid) => (Some(true), Some(pid), LitestreamEvidence::Attached(pid)),
        Sighting::Stopped(pid) => (Some(false), Some(pid), LitestreamEvidence::Stopped(pid)),
        Sighting::Elsewhere(pid) => (Some(false), Some(pid), LitestreamEvidence::RunningElsewhere(pid)),
        Sighting::Running(pid) if closed => (Some(false), Some(pid), LitestreamEvidence::RunningElsewhere(pid)),
        _ if closed => (Some(false), None, LitestreamEvidence::Closed),
        Sighting::Running(pid) => (Some(true), Some(pid), LitestreamEvidence::Running(pid)),
        Sighting::Gone => (Some(false), None, LitestreamEvidence::Gone),
        Sighting::Unknown => (None, None, LitestreamEvidence::Unseen),
    };
    LitestreamReport { up, evidence, pid }
}
