//! Restore drills on a schedule: one at a time, when they are due, as far as the day's budget goes.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::super::crew::{Crew, Work};
use super::super::drilling::Basis;
use super::super::fleet::Fleet;
use super::super::schedule::{Queue, ReplicaKey};
use super::super::turn::{Duty, Shared, Turn};
use crate::domain::assessment::{AgentReport, DrillBudgetReport};
use crate::domain::drill::schedule::{DrillLimits, DrillTiming};
use crate::domain::drill::{DrillHistory, DrillRecord, DrillResult};
use crate::domain::human::spoken_bytes;
use crate::domain::moment::{Moment, later};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::spread::share;
use crate::domain::target::TargetName;
use crate::usecase::drill::inconclusive;
use crate::usecase::ports::{DrillJob, DrillRunner};

/// The time that a runner may take beyond the policy's timeout before it is given up.
const TIMEOUT_SLACK: Duration = Duration::from_secs(60);

/// A wall clock that moves by more than this against the monotonic one was set, or the machine slept.
const STEP: SignedDuration = SignedDuration::from_secs(60);

/// How long a drill waits that the day's budget does not allow now.
const BUDGET_WAIT: SignedDuration = SignedDuration::from_mins(15);

/// The scheduled drills of one agent.
pub(super) struct Drills {
    /// `None`: none are run.
    runner: Option<Arc<dyn DrillRunner>>,
    /// When replicas are drilled next, by the wall clock.
    queue: Queue<Timestamp>,
    /// The replica that is being drilled; dropping the other end ends the drill.
    running: Option<(ReplicaKey, TargetName, oneshot::Sender<()>)>,
    crew: Crew<Begun, Option<Result<DrillRecord, Reason>>>,
    /// The wall clock against the monotonic one.
    drift: Option<SignedDuration>,
    /// What the plans in force were made with.
    limits: DrillLimits,
}

/// A drill that has begun.
struct Begun {
    replica: ReplicaKey,
    at: Moment,
    /// The job, for the record of a drill that does not end by itself.
    job: DrillJob,
}

/// What keeps a replica from being drilled: until when, if that is known, and why, if that is to be said. Otherwise it
/// waits for the next look that succeeds.
type Obstacle = (Option<Timestamp>, Option<String>);

impl Duty for Drills {
    /// Plans after looks, and begins the drill that is due, unless one runs.
    fn begin(&mut self, shared: &mut Shared, Turn { now, .. }: Turn) -> Option<Duration> {
        let runner = self.runner.clone()?;
        for (key, _) in shared.looked.clone().into_iter().filter(|(_, success)| *success) {
            let flaws = flaws(&shared.fleet, key);
            if let Some((_, replica)) = shared.fleet.get_mut(key) {
                replica.drilling.note(flaws, now.wall());
            }
            self.plan(shared, key, now);
        }
        if self.stepped(now) {
            tracing::info!("the clock was set, or the machine slept: drills are rescheduled");
            self.plan_all(shared, now);
        }
        let mut spent = None;
        while self.crew.has_seat("", 1) {
            let Some(key) = self.queue.pop(now.wall()) else { break };
            let spent = *spent.get_or_insert_with(|| downloaded(&shared.fleet, now.wall()));
            match job(shared, key, spent, now) {
                Ok(job) => self.drill(&runner, &mut shared.fleet, key, job, now),
                Err((due, why)) => self.put_off(&mut shared.fleet, key, due, why),
            }
        }
        let due = self.queue.first().filter(|_| self.crew.has_seat("", 1))?;
        Some(due.duration_since(now.wall()).max(SignedDuration::ZERO).unsigned_abs())
    }

    fn crew(&mut self) -> &mut dyn Work {
        &mut self.crew
    }

    fn conclude(&mut self, shared: &mut Shared, now: Moment) {
        while let Some((Begun { replica: key, at, job }, ended)) = self.crew.take_ended() {
            self.running = None;
            // Nothing comes of one that was ended.
            let Some(ended) = ended.transpose() else { continue };
            let Some((target, replica)) = shared.fleet.get_mut(key) else { continue };
            let record = ended.flatten().unwrap_or_else(|reason| {
                let finished = later(at.wall(), now.since(at));
                inconclusive(&job, "", at.wall(), finished, reason)
            });
            let (database, name, seconds) = (&target.name, &replica.target.name, record.seconds);
            match (record.result, &record.reason) {
                (DrillResult::Passed, _) => tracing::info!(%database, replica = name, seconds, "drill passed"),
                (result, reason) => {
                    let reason = reason.as_ref().map_or("no reason given", |reason| &reason.message);
                    tracing::warn!(%database, replica = name, seconds, reason, "drill {}", result.as_str());
                }
            }
            // One clock: what the process that drilled took for the time decides nothing here.
            let record = DrillRecord { started_at: at.wall(), finished_at: now.wall(), ..record };
            replica.drilling.conclude(record, at.wall());
            self.plan(shared, key, now);
        }
    }

    fn adapt(&mut self, shared: &mut Shared, now: Moment) {
        self.queue.retain(|replica| shared.fleet.contains(replica));
        if self.limits != shared.configured.drills {
            self.limits = shared.configured.drills.clone();
            self.plan_all(shared, now);
        }
        self.cancel(&mut shared.fleet);
    }

    /// What drills may still download, where there are any and there is a bound.
    fn report(&self, shared: &Shared, now: Moment, agent: &mut AgentReport) {
        let budget_bytes = self.limits.daily_download.filter(|_| self.runner.is_some());
        let downloaded_bytes = || downloaded(&shared.fleet, now.wall());
        agent.drill_budget =
            budget_bytes.map(|budget_bytes| DrillBudgetReport { budget_bytes, downloaded_bytes: downloaded_bytes() });
    }
}

impl Drills {
    pub(super) fn new(runner: Option<Arc<dyn DrillRunner>>) -> Self {
        let (queue, limits) = Default::default();
        Self { runner, queue, running: None, crew: Crew::default(), drift: None, limits }
    }

    /// Whether the wall clock was set since the last call.
    fn stepped(&mut self, now: Moment) -> bool {
        let drift = now.wall().duration_since(Timestamp::UNIX_EPOCH).saturating_sub(now.mono());
        let before = self.drift.replace(drift);
        before.is_some_and(|before| drift.saturating_sub(before).abs() > STEP)
    }

    fn put_off(&mut self, fleet: &mut Fleet, key: ReplicaKey, due: Option<Timestamp>, withheld: Option<String>) {
        let Some((_, replica)) = fleet.get_mut(key) else { return };
        replica.drilling.withheld = withheld;
        replica.drilling.history_mut().next_due_at = due;
        if due.is_none() {
            // Then the next look plans it anew.
            replica.drilling.basis = None;
        }
        self.queue.plan(key, due);
        refresh(fleet, key);
    }

    fn drill(&mut self, runner: &Arc<dyn DrillRunner>, fleet: &mut Fleet, key: ReplicaKey, job: DrillJob, now: Moment) {
        let Some((target, replica)) = fleet.get_mut(key) else { return };
        let download = replica.coverage().and_then(|coverage| coverage.download_bytes);
        let download = download.filter(|_| replica.target.location.is_remote());
        let drilling = &mut replica.drilling;
        drilling.running_since = Some(now.wall());
        drilling.withheld = None;
        drilling.history_mut().begin(now.wall(), download);
        drilling.history_mut().next_due_at = None;
        tracing::debug!(database = %target.name, replica = replica.target.name, full = job.full, "drill started");
        let (stop, stopped) = oneshot::channel();
        let (runner, asked) = (Arc::clone(runner), job.clone());
        let limit = job.policy.timeout.saturating_add(TIMEOUT_SLACK);
        let late =
            move |_| Reason::new(ReasonKind::Timeout, format!("drill: not finished after {} s", limit.as_secs()));
        self.crew.begin("drill", String::new(), Begun { replica: key, at: now, job }, async move {
            tokio::select! {
                biased;
                _ = stopped => None,
                drill = tokio::time::timeout(limit, runner.drill(asked)) => Some(drill.map_err(late)),
            }
        });
        self.running = Some((key, target.name.clone(), stop));
        refresh(fleet, key);
    }

    /// Ends the drill that runs if its replica is gone or another now.
    fn cancel(&mut self, fleet: &mut Fleet) {
        let wanted = |key| fleet.get(key).is_some_and(|(subject, _)| subject.gone_since.is_none());
        let Some((key, database, _)) = self.running.take_if(|(key, ..)| !wanted(*key)) else { return };
        tracing::info!(%database, "drill stopped: the database was removed from the configuration, or changed there");
        if let Some((_, replica)) = fleet.get_mut(key) {
            replica.drilling.running_since = None;
            // Should it come back before it is forgotten, the next look plans it.
            replica.drilling.basis = None;
            refresh(fleet, key);
        }
    }

    /// Plans the next drill after a look at the replica, unless what is planned still holds.
    fn plan(&mut self, shared: &mut Shared, key: ReplicaKey, now: Moment) {
        let Some((subject, replica)) = shared.fleet.get(key) else { return };
        if self.runner.is_none() || subject.gone_since.is_some() || replica.drilling.running_since.is_some() {
            return;
        }
        let Some(coverage) = replica.coverage() else { return };
        let policy = &subject.target.drill;
        let by_hand = shared.configuration.command("drill");
        let basis = Basis::of(policy, &replica.target, coverage, (&self.limits, &by_hand), replica.drilling.healed_at);
        if replica.drilling.basis.as_ref() == Some(&basis) {
            return;
        }
        let mut history = DrillHistory::clone(&replica.drilling.history);
        history.first_seen_at = history.first_seen_at.or_else(|| Some(now.wall()));
        let timing = DrillTiming {
            schedule: &policy.schedule,
            history: &history,
            download_bytes: coverage.download_bytes.unwrap_or(0),
            remembered: shared.remembers,
            share: share(&subject.target.name.0, &replica.target.name),
            replicas: shared.fleet.subjects.len(),
            window: self.limits.window.as_ref(),
            healed_at: replica.drilling.healed_at,
        };
        let interval = timing.interval(now.wall());
        let due = timing.next_due(now.wall()).filter(|_| basis.withheld.is_none());
        history.next_due_at = due;
        self.queue.plan(key, due);
        let Some((_, replica)) = shared.fleet.get_mut(key) else { return };
        let drilling = &mut replica.drilling;
        drilling.interval_seconds = interval.map(|interval| interval.as_secs_f64());
        drilling.withheld.clone_from(&basis.withheld);
        drilling.basis = Some(basis);
        drilling.history = Arc::new(history);
        refresh(&mut shared.fleet, key);
    }

    /// Plans all drills anew.
    fn plan_all(&mut self, shared: &mut Shared, now: Moment) {
        let mut keys = Vec::new();
        for replica in shared.fleet.subjects.values_mut().flat_map(|subject| &mut subject.replicas) {
            replica.drilling.basis = None;
            keys.push(replica.key);
        }
        keys.into_iter().for_each(|key| self.plan(shared, key, now));
    }
}

/// How much is known to be wrong with what a restore of a replica needs.
fn flaws(fleet: &Fleet, key: ReplicaKey) -> usize {
    let report = fleet.get(key).and_then(|(subject, replica)| {
        subject.report.replicas.iter().find(|report| report.name == replica.target.name)
    });
    let listed = report.and_then(|report| report.coverage.as_ref());
    let listed = listed.map_or(0, |coverage| coverage.gaps.len() + usize::from(!coverage.restorable));
    let read = report.and_then(|report| report.verification.as_ref());
    listed + read.map_or(0, |found| found.needed_damaged().count())
}

/// Bytes that drills downloaded from buckets in the last 24 hours.
fn downloaded(fleet: &Fleet, now: Timestamp) -> u64 {
    fleet.replicas().fold(0, |bytes, replica| bytes.saturating_add(replica.drilling.history.downloaded(now)))
}

/// What a replica whose drill is due is drilled with.
fn job(shared: &Shared, key: ReplicaKey, spent: u64, now: Moment) -> Result<DrillJob, Obstacle> {
    let found = shared.fleet.get(key).filter(|(subject, _)| subject.gone_since.is_none());
    let (subject, replica) = found.ok_or_else(Obstacle::default)?;
    let coverage = replica.coverage().ok_or_else(Obstacle::default)?;
    if let Some(reason) = replica.unreadable() {
        return Err((None, Some(format!("the replica cannot be read: {reason}"))));
    }
    let limits = &shared.configured.drills;
    if let Some(window) = limits.window.as_ref().filter(|window| !window.is_open(now.wall())) {
        return Err((Some(window.next_open(now.wall()).max(later(now.wall(), STEP))), None));
    }
    let download = coverage.download_bytes.unwrap_or(0);
    if let Some(most) = limits.daily_download.filter(|_| replica.target.location.is_remote())
        && spent.saturating_add(download) > most
    {
        let why = format!(
            "waiting: drills downloaded {} in 24 hours, this one would download about {}, and daily-download is {}",
            spoken_bytes(spent as f64),
            spoken_bytes(download as f64),
            spoken_bytes(most as f64)
        );
        return Err((Some(later(now.wall(), BUDGET_WAIT)), Some(why)));
    }
    let policy = &subject.target.drill;
    Ok(DrillJob {
        database: subject.target.name.clone(),
        files: subject.target.database.clone(),
        replica: (*replica.target).clone(),
        policy: (**policy).clone(),
        full: replica.drilling.history.wants_full(policy.full_every),
    })
}

/// Shows and saves what is known now.
fn refresh(fleet: &mut Fleet, key: ReplicaKey) {
    let Some((target, replica)) = fleet.get_mut(key) else { return };
    let download = replica.coverage().and_then(|coverage| coverage.download_bytes);
    replica.drilling.refresh(&target.drill, download);
    fleet.touch(key);
}
