//! What the agent knows of one target.

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::drilling::Drilling;
use super::replica::{Watched, WatchedReplica};
use crate::domain::assess::positions::{Positions, SavedPositions};
use crate::domain::assess::rates::RateWindow;
use crate::domain::check::{Watching, judge};
use crate::domain::drill::DrillHistory;
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, DatabasePosture, Journal, StagedPosition};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::{DatabaseReport, DatabaseState, LocalReport};
use crate::domain::target::{ReplicaLocation, ReplicaTarget, Target};
use crate::usecase::ports::{LocalUpdate, Pace};

/// How often what is known of the objects is saved while it changes. Of what came since, a restart reads again what it
/// needs.
const OBJECTS_SAVE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct Subject {
    pub(super) target: Target,
    look: Option<DatabaseLook>,
    posture: Option<DatabasePosture>,
    polled: bool,
    failure: Option<Reason>,
    rates: RateWindow,
    pub(super) replicas: Vec<WatchedReplica>,
    /// It is gone from the configuration, since then.
    pub(super) gone_since: Option<Moment>,
    /// It changed since it was last saved.
    pub(super) unsaved: bool,
    /// When what is known of the objects was last compared with what was saved, and what it was.
    objects_saved: Option<(Moment, u64)>,
    pub(super) report: Arc<DatabaseReport>,
}

/// What of a subject survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// The database's file: what was counted and proven of another one says nothing of this one.
    database: Option<PathBuf>,
    rates: RateWindow,
    /// By [`identity`].
    replicas: Vec<(String, SavedPositions)>,
    /// By [`identity`].
    #[serde(default)]
    drills: Vec<(String, DrillHistory)>,
    /// By [`identity`].
    #[serde(default)]
    watched: Vec<(String, Watched)>,
}

fn path(target: &Target) -> Option<PathBuf> {
    target.database.as_ref().map(|files| files.path.clone())
}

/// Names a replica by where it is: another place under the same name holds nothing that was proven of this one.
fn identity(replica: &ReplicaTarget) -> String {
    let endpoint = match &replica.location {
        ReplicaLocation::S3(s3) => s3.endpoint.as_deref().unwrap_or_default(),
        ReplicaLocation::Directory(_) | ReplicaLocation::Unsupported { .. } => "",
    };
    format!("{} {endpoint} {}", replica.name, replica.location.url())
}

impl Subject {
    pub(super) fn new(
        target: Target,
        replicas: Vec<WatchedReplica>,
        saved: Option<&str>,
        pace: &Pace,
        now: Moment,
    ) -> Self {
        // A text of another version is not worth a word: history is comfort.
        let saved: Option<Saved> = saved.and_then(|text| serde_json::from_str(text).ok());
        let saved = saved.filter(|saved| saved.database == path(&target)).unwrap_or_default();
        let mut replicas = replicas;
        for replica in &mut replicas {
            let watched = saved.watched.iter().find(|(replica_of, _)| *replica_of == identity(&replica.target));
            replica.watched = watched.map_or(Watched { since: now.wall, verified_at: None }, |(_, watched)| *watched);
            if let Some((_, positions)) =
                saved.replicas.iter().find(|(replica_of, _)| *replica_of == identity(&replica.target))
            {
                replica.positions = Positions::restore(positions, now);
            }
            let drills = saved.drills.iter().find(|(replica_of, _)| *replica_of == identity(&replica.target));
            if let Some((_, history)) = drills {
                replica.drilling = Drilling::new(history.clone());
            }
        }
        let report = Arc::new(DatabaseReport {
            name: target.name.0.clone(),
            state: DatabaseState::Pending,
            reason: None,
            local: None,
            rpo_seconds: target.objectives.rpo.as_secs_f64(),
            replicas: Vec::new(),
            checks: Vec::new(),
        });
        let mut subject = Self {
            target,
            look: None,
            posture: None,
            polled: false,
            failure: None,
            rates: saved.rates,
            replicas,
            gone_since: None,
            unsaved: false,
            objects_saved: None,
            report,
        };
        subject.rebuild(pace, now, Watching::Continuously);
        subject
    }

    pub(super) fn save(&self) -> String {
        let replicas = self.replicas.iter().map(|replica| (identity(&replica.target), replica.positions.save()));
        let drilled = self.replicas.iter().filter(|replica| replica.drilling.history.first_seen_at.is_some());
        let drills = drilled.map(|replica| (identity(&replica.target), replica.drilling.history.clone()));
        let saved = Saved {
            database: path(&self.target),
            rates: self.rates.clone(),
            replicas: replicas.collect(),
            drills: drills.collect(),
            watched: self.replicas.iter().map(|replica| (identity(&replica.target), replica.watched)).collect(),
        };
        serde_json::to_string(&saved).unwrap_or_default()
    }

    /// What is known of the objects, by [`identity`]. It is much more than the rest, and changes only with the bucket.
    pub(super) fn save_objects(&self) -> String {
        let verified = self.replicas.iter().filter(|replica| replica.ledger.is_on());
        let texts: Vec<_> = verified.map(|replica| (identity(&replica.target), replica.ledger.save())).collect();
        serde_json::to_string(&texts).unwrap_or_default()
    }

    /// The same if it changed since it was last saved and that is long enough ago, or this is the `last` time.
    pub(super) fn unsaved_objects(&mut self, now: Moment, last: bool) -> Option<String> {
        if !self.replicas.iter().any(|replica| replica.ledger.is_on()) {
            return None;
        }
        let recent = |(at, _)| now.since(at) < OBJECTS_SAVE_INTERVAL;
        if self.objects_saved.is_some_and(recent) && !last {
            return None;
        }
        let state = self.objects_state();
        let before = self.objects_saved.replace((now, state));
        before.is_none_or(|(_, saved)| saved != state).then(|| self.save_objects())
    }

    /// What was handed out to be saved was not.
    pub(super) fn objects_not_saved(&mut self) {
        self.objects_saved = None;
    }

    /// Takes over what [`save_objects`](Self::save_objects) gave.
    pub(super) fn restore_objects(&mut self, saved: &str, now: Moment) {
        let texts: Vec<(String, String)> = serde_json::from_str(saved).unwrap_or_default();
        for replica in &mut self.replicas {
            if let Some((_, text)) = texts.iter().find(|(of, _)| *of == identity(&replica.target)) {
                replica.restore_ledger(text);
            }
        }
        self.objects_saved = Some((now, self.objects_state()));
    }

    fn objects_state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.replicas.iter().for_each(|replica| replica.ledger.hash_objects(&mut hasher));
        hasher.finish()
    }

    /// Takes in a local look; yields the replicas that are now behind something that they were not behind before.
    pub(super) fn observe(&mut self, update: LocalUpdate) -> Vec<usize> {
        if update.posture.is_some() {
            self.posture = update.posture;
        }
        self.polled = update.polled;
        match update.look {
            Ok(look) => {
                self.rates.record(&look);
                let replicas = self.replicas.iter_mut().enumerate();
                let behind = replicas.filter_map(|(index, replica)| replica.record(&look).then_some(index)).collect();
                self.unsaved = true;
                self.look = Some(look);
                self.failure = None;
                behind
            }
            Err(reason) => {
                self.failure = Some(reason);
                Vec::new()
            }
        }
    }

    /// Everything about it was looked at once.
    pub(super) fn complete(&self) -> bool {
        let local = self.target.database.is_none() || self.look.is_some() || self.failure.is_some();
        local && self.replicas.iter().all(WatchedReplica::looked_at)
    }

    /// Its numbers change with time alone: something is pending, or writes leave the window of the rates.
    pub(super) fn moving(&self, now: Moment) -> bool {
        let writing = self
            .rates
            .rates(now)
            .is_none_or(|rates| rates.write_transactions_per_second != 0.0 || rates.growth_bytes_per_second != 0.0);
        (self.look.is_some() && writing) || self.replicas.iter().any(WatchedReplica::moving)
    }

    /// Where Litestream's local state says it is.
    pub(super) fn staged(&self) -> Option<&StagedPosition> {
        self.posture.as_ref()?.staging.as_ref().map(|staging| &staging.position)
    }

    pub(super) fn rebuild(&mut self, pace: &Pace, now: Moment, watching: Watching) {
        let mut report = DatabaseReport {
            name: self.target.name.0.clone(),
            state: self.state(),
            reason: self.failure.clone(),
            local: self.local(now),
            rpo_seconds: self.target.objectives.rpo.as_secs_f64(),
            replicas: self.replicas.iter().map(|replica| replica.report(pace, now)).collect(),
            checks: Vec::new(),
        };
        report.checks = judge(&report, now.wall, watching);
        self.report = Arc::new(report);
    }

    fn state(&self) -> DatabaseState {
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
        let txid_claim = self.staged().and_then(|position| match position {
            StagedPosition::Ltx(files) => files.last().map(|file| file.txid.0),
            StagedPosition::Shadow { .. } | StagedPosition::Empty => None,
        });
        Some(LocalReport {
            path: files.path.display().to_string(),
            observed_at: look.at.wall,
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
            modes: posture.map(|posture| posture.modes.clone()).unwrap_or_default(),
            filesystem: posture.and_then(|posture| posture.filesystem),
            staging_bytes: staging.map(|staging| staging.bytes),
            lock_holder_pid: posture.and_then(|posture| posture.lock_holder_pid),
            txid_claim,
        })
    }
}
