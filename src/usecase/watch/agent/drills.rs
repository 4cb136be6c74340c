//! Restore drills on a schedule: one at a time, when they are due, as far as the day's budget goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};

use super::super::drilling::{Basis, is_bucket};
use super::super::schedule::ReplicaId;
use super::Agent;
use crate::domain::assessment::DrillBudgetReport;
use crate::domain::drill::schedule::{DrillTiming, share};
use crate::domain::drill::{DrillPolicy, DrillRecord, DrillResult};
use crate::domain::human::spoken_bytes;
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::drill::inconclusive;
use crate::usecase::ports::{DrillJob, DrillRunner};

/// What a runner may take beyond the policy's timeout before it is given up.
const TIMEOUT_SLACK: Duration = Duration::from_secs(60);

/// A wall clock that moves by more than this against the monotonic one was set, or the machine slept.
const STEP: SignedDuration = SignedDuration::from_secs(60);

/// How long a drill waits that the day's budget does not allow now.
const BUDGET_WAIT: SignedDuration = SignedDuration::from_mins(15);

/// The scheduled drills of one agent.
pub(super) struct Drills {
    runner: Option<Arc<dyn DrillRunner>>,
    queue: BTreeSet<(Timestamp, ReplicaId)>,
    running: Option<Running>,
    tasks: JoinSet<DrillRecord>,
    /// The wall clock against the monotonic one.
    drift: Option<SignedDuration>,
}

/// The drill that runs.
struct Running {
    task: Id,
    id: ReplicaId,
    /// Tells the replica from what a reload puts in its place.
    number: u64,
    began: Moment,
    /// What it was asked for, for a record of one that has no end of its own.
    job: DrillJob,
    cancelled: bool,
}

/// Whether a replica whose drill is due can be drilled.
enum Readiness {
    Ready(Box<DrillJob>, u64),
    /// Not before then.
    At(Timestamp, Option<String>),
    /// Not before it is looked at again.
    Waits(String),
    Gone,
}

impl Drills {
    pub(super) fn new(runner: Option<Arc<dyn DrillRunner>>) -> Self {
        Self { runner, queue: BTreeSet::new(), running: None, tasks: JoinSet::new(), drift: None }
    }

    /// The end of the drill that runs; pending for ever when there is none.
    pub(super) async fn ended(&mut self) -> Result<(Id, DrillRecord), JoinError> {
        match self.tasks.join_next_with_id().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Ends what runs and waits until it has ended.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// How long until one is due.
    pub(super) fn wait(&self, now: Moment) -> Option<Duration> {
        let (due, _) = self.queue.first().filter(|_| self.running.is_none())?;
        Some(due.duration_since(now.wall).max(SignedDuration::ZERO).unsigned_abs())
    }

    /// Takes a replica out of the queue.
    pub(super) fn remove(&mut self, id: &ReplicaId, due: Option<Timestamp>) {
        if let Some(due) = due {
            self.queue.remove(&(due, id.clone()));
        }
    }

    fn pop(&mut self, now: Timestamp) -> Option<ReplicaId> {
        if self.queue.first()?.0 > now {
            return None;
        }
        self.queue.pop_first().map(|(_, id)| id)
    }

    /// Whether the wall clock was set since the last call.
    fn stepped(&mut self, now: Moment) -> bool {
        let drift = now.wall.duration_since(Timestamp::UNIX_EPOCH).saturating_sub(now.mono);
        let before = self.drift.replace(drift);
        before.is_some_and(|before| drift.saturating_sub(before).abs() > STEP)
    }
}

impl Agent {
    /// Begins the drill that is due, unless one runs.
    pub(super) fn launch_drill(&mut self, now: Moment) {
        let Some(runner) = self.drills.runner.clone() else { return };
        if self.drills.stepped(now) {
            tracing::info!("the clock was set, or the machine slept: drills are planned anew");
            self.plan_all_drills(now);
        }
        if self.drills.running.is_some() {
            return;
        }
        let mut spent = None;
        while let Some(id) = self.drills.pop(now.wall) {
            if let Some(replica) = self.replica_mut(&id) {
                replica.drilling.due = None;
            }
            let spent = *spent.get_or_insert_with(|| self.downloaded(now.wall));
            match self.readiness(&id, spent, now) {
                Readiness::Ready(job, number) => return self.begin_drill(runner, *job, id, number, now),
                Readiness::At(due, withheld) => self.put_off_drill(&id, Some(due), withheld),
                Readiness::Waits(why) => self.put_off_drill(&id, None, Some(why)),
                // Should it come back, the next look plans it anew.
                Readiness::Gone => self.put_off_drill(&id, None, None),
            }
        }
    }

    /// What drills may still download; `None` where there are none, or no bound.
    pub(super) fn drill_budget(&self, now: Timestamp) -> Option<DrillBudgetReport> {
        let budget_bytes = self.configured.drills.daily_download.filter(|_| self.drills.runner.is_some())?;
        Some(DrillBudgetReport { budget_bytes, downloaded_bytes: self.downloaded(now) })
    }

    /// Bytes that drills downloaded from buckets in the last 24 hours.
    fn downloaded(&self, now: Timestamp) -> u64 {
        let replicas = self.subjects.values().flat_map(|subject| &subject.replicas);
        replicas.fold(0, |bytes, replica| bytes.saturating_add(replica.drilling.history.downloaded(now)))
    }

    fn readiness(&self, id: &ReplicaId, spent: u64, now: Moment) -> Readiness {
        let Some(subject) = self.subjects.get(&id.0).filter(|subject| subject.gone_since.is_none()) else {
            return Readiness::Gone;
        };
        let Some(replica) = subject.replicas.get(id.1) else { return Readiness::Gone };
        let Some(coverage) = replica.coverage() else { return Readiness::Gone };
        if let Some(reason) = replica.unreadable() {
            return Readiness::Waits(format!("the replica cannot be read: {reason}"));
        }
        let limits = &self.configured.drills;
        if let Some(window) = limits.window.as_ref().filter(|window| !window.is_open(now.wall)) {
            return Readiness::At(window.next_open(now.wall).max(later(now.wall, STEP)), None);
        }
        let download = coverage.download_bytes.unwrap_or(0);
        if let Some(most) = limits.daily_download.filter(|_| is_bucket(&replica.target))
            && spent.saturating_add(download) > most
        {
            let withheld = format!(
                "waits: drills downloaded {} in 24 hours, this one downloads about {}, and daily-download is {}",
                spoken_bytes(spent as f64),
                spoken_bytes(download as f64),
                spoken_bytes(most as f64)
            );
            return Readiness::At(later(now.wall, BUDGET_WAIT), Some(withheld));
        }
        let policy = &subject.target.drill;
        let job = DrillJob {
            database: subject.target.name.clone(),
            files: subject.target.database.clone(),
            replica: replica.target.clone(),
            policy: DrillPolicy { prices: policy.prices_at(&replica.target.location), ..policy.clone() },
            full: replica.drilling.history.wants_full(policy.full_every),
        };
        Readiness::Ready(Box::new(job), replica.number)
    }

    fn put_off_drill(&mut self, id: &ReplicaId, due: Option<Timestamp>, withheld: Option<String>) {
        let Some(replica) = self.replica_mut(id) else { return };
        replica.drilling.withheld = withheld;
        replica.drilling.due = due;
        replica.drilling.history.next_due_at = due;
        match due {
            Some(due) => {
                self.drills.queue.insert((due, id.clone()));
            }
            // The next look that succeeds plans it anew.
            None => replica.drilling.basis = None,
        }
        self.refresh_drill(id);
    }

    fn begin_drill(&mut self, runner: Arc<dyn DrillRunner>, job: DrillJob, id: ReplicaId, number: u64, now: Moment) {
        let Some(replica) = self.replica_mut(&id) else { return };
        let download = replica.coverage().and_then(|coverage| coverage.download_bytes);
        let download = download.filter(|_| is_bucket(&replica.target));
        let drilling = &mut replica.drilling;
        drilling.running_since = Some(now.wall);
        drilling.withheld = None;
        drilling.history.begin(now.wall, download);
        drilling.history.next_due_at = None;
        tracing::info!(database = %id.0, replica = replica.target.name, full = job.full, "drill begins");
        let asked = job.clone();
        let limit = job.policy.timeout.saturating_add(TIMEOUT_SLACK);
        let task = self.drills.tasks.spawn(async move {
            let begun = asked.clone();
            let drill = tokio::time::timeout(limit, runner.drill(asked)).await;
            drill.unwrap_or_else(|_| {
                let message = format!("drill: not ended after {} s", limit.as_secs());
                unfinished(&begun, Reason::new(ReasonKind::Timeout, message), now.wall, limit)
            })
        });
        let task = task.id();
        self.drills.running = Some(Running { task, id: id.clone(), number, began: now, job, cancelled: false });
        self.refresh_drill(&id);
    }

    /// Takes in how the drill ended.
    pub(super) fn conclude_drill(&mut self, ended: Result<(Id, DrillRecord), JoinError>) {
        let task = ended.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let Some(running) = self.drills.running.take_if(|running| running.task == task) else { return };
        if running.cancelled {
            return;
        }
        let now = self.clock.now();
        let record = ended.map(|(_, record)| record).unwrap_or_else(|error| {
            tracing::error!(%error, database = %running.id.0, "a drill panicked");
            let took = now.since(running.began).unsigned_abs();
            let reason = Reason::new(ReasonKind::Failed, "drill: internal error");
            unfinished(&running.job, reason, running.began.wall, took)
        });
        let Some(replica) = self.replica_mut(&running.id).filter(|replica| replica.number == running.number) else {
            return;
        };
        let (database, name, seconds) = (&running.id.0, &replica.target.name, record.seconds);
        match (record.result, &record.reason) {
            (DrillResult::Passed, _) => tracing::info!(%database, replica = name, seconds, "drill passed"),
            (result, reason) => {
                let reason = reason.as_ref().map_or("no reason given", |reason| &reason.message);
                tracing::warn!(%database, replica = name, seconds, reason, "drill {}", result.as_str());
            }
        }
        replica.drilling.running_since = None;
        // One clock: what the process that drilled took for the time decides nothing here.
        let record = DrillRecord { started_at: running.began.wall, finished_at: now.wall, ..record };
        replica.drilling.history.conclude(record, running.began.wall);
        replica.drilling.basis = None;
        self.plan_drill(&running.id, now);
    }

    /// Ends the drill that runs if its replica is gone or another now.
    pub(super) fn cancel_drill(&mut self) {
        let Some(running) = self.drills.running.as_ref().filter(|running| !running.cancelled) else { return };
        let subject = self.subjects.get(&running.id.0).filter(|subject| subject.gone_since.is_none());
        let number = subject.and_then(|subject| subject.replicas.get(running.id.1)).map(|replica| replica.number);
        if number == Some(running.number) {
            return;
        }
        tracing::info!(database = %running.id.0, "drill ended: the database is gone from the configuration, or changed");
        self.drills.tasks.abort_all();
        let id = running.id.clone();
        if let Some(running) = &mut self.drills.running {
            running.cancelled = true;
        }
        if let Some(replica) = self.replica_mut(&id) {
            replica.drilling.running_since = None;
            // Should it come back before it is forgotten, the next look plans it.
            replica.drilling.basis = None;
            self.refresh_drill(&id);
        }
    }

    /// Plans the next drill after a look at the replica, unless what is planned still holds.
    pub(super) fn plan_drill(&mut self, id: &ReplicaId, now: Moment) {
        if self.drills.runner.is_none() {
            return;
        }
        let Some(subject) = self.subjects.get(&id.0).filter(|subject| subject.gone_since.is_none()) else { return };
        let policy = &subject.target.drill;
        let Some(replica) = subject.replicas.get(id.1).filter(|replica| replica.drilling.running_since.is_none())
        else {
            return;
        };
        let Some(coverage) = replica.coverage() else { return };
        let limits = &self.configured.drills;
        let basis = Basis::of(policy, &replica.target, coverage, limits);
        if replica.drilling.basis.as_ref() == Some(&basis) {
            return;
        }
        let mut history = replica.drilling.history.clone();
        history.first_seen_at = history.first_seen_at.or(Some(now.wall));
        let timing = DrillTiming {
            schedule: &policy.schedule,
            history: &history,
            download_bytes: coverage.download_bytes.unwrap_or(0),
            remembered: self.remembers,
            share: share(&id.0.0, &replica.target.name),
            replicas: self.subjects.len(),
            window: limits.window.as_ref(),
        };
        let interval = timing.interval(now.wall);
        let due = timing.next_due(now.wall).filter(|_| basis.withheld.is_none());
        history.next_due_at = due;
        let planned = replica.drilling.due;
        self.drills.remove(id, planned);
        if let Some(due) = due {
            self.drills.queue.insert((due, id.clone()));
        }
        let Some(replica) = self.replica_mut(id) else { return };
        let drilling = &mut replica.drilling;
        drilling.due = due;
        drilling.interval_seconds = interval.map(|interval| interval.as_secs_f64());
        drilling.withheld.clone_from(&basis.withheld);
        drilling.basis = Some(basis);
        drilling.history = history;
        self.refresh_drill(id);
    }

    /// Plans all drills anew.
    pub(super) fn plan_all_drills(&mut self, now: Moment) {
        let ids = self.subjects.iter().flat_map(|(name, subject)| {
            (0..subject.replicas.len()).map(|index| (name.clone(), index)).collect::<Vec<_>>()
        });
        for id in ids.collect::<Vec<_>>() {
            if let Some(replica) = self.replica_mut(&id) {
                replica.drilling.basis = None;
            }
            self.plan_drill(&id, now);
        }
    }

    fn refresh_drill(&mut self, id: &ReplicaId) {
        let Some(subject) = self.subjects.get_mut(&id.0) else { return };
        let policy = &subject.target.drill;
        let Some(replica) = subject.replicas.get_mut(id.1) else { return };
        let download = replica.coverage().and_then(|coverage| coverage.download_bytes);
        replica.drilling.refresh(policy, download);
        subject.unsaved = true;
        self.dirty.insert(id.0.clone());
    }
}

/// The record of a drill that has none of its own.
fn unfinished(job: &DrillJob, reason: Reason, began: Timestamp, took: Duration) -> DrillRecord {
    let ended = later(began, SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX));
    inconclusive(job, "", began, ended, reason)
}

fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}
