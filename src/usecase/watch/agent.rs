//! The one task that owns the state.

mod alerts;
mod beacons;
mod buckets;
mod doubt;
mod drills;
mod looks;
mod names;
mod reading;
mod saving;
mod spots;
mod telling;
mod verifying;

use crate::domain::assessment::Assessment;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use self::alerts::Alerts;
use self::beacons::Beacons;
use self::buckets::Buckets;
use self::doubt::Believed;
use self::drills::Drills;
use self::looks::{Flight, Look, Place};
pub use self::names::remembered_names;
use self::reading::{Hanging, Reading, configuration};
use self::saving::{SAVE_INTERVAL, Saved, saved};
use self::spots::Spots;
use self::telling::Telling;
use self::verifying::Verifying;
use super::local::{LocalRound, LocalWatch};
use super::replica::{WatchedReplica, ledger, means};
use super::schedule::{Queue, ReplicaId};
use super::subject::Subject;
use crate::domain::assessment::{AgentReport, CollectorReport, ConfigReport, CostReport, DatabaseReport, StateReport};
use crate::domain::check::{Judge, Watching};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;
use crate::domain::target::{Target, TargetName};
use crate::usecase::ports::{
    AlertOutlet, Clock, Configuration, Configured, DatabaseWatch, DrillRunner, EntryKey, EntryKind, Journal,
    LocalUpdate, PageReader, ProcessProbe, Publisher, Stores,
};

/// A report is published so often although nothing changed, so that it shows that the agent goes on.
const PUBLISH_AT_LEAST: SignedDuration = SignedDuration::from_secs(30);

/// Asks for a reload; the answer is what went wrong, for a person.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What an agent works with.
pub struct AgentParts {
    pub clock: Arc<dyn Clock>,
    pub watch: Box<dyn DatabaseWatch>,
    pub stores: Arc<dyn Stores>,
    pub configuration: Arc<dyn Configuration>,
    pub journal: Option<Box<dyn Journal>>,
    pub publisher: Arc<dyn Publisher>,
    pub process: ProcessProbe,
    /// Who runs drills; `None`: none are run.
    pub drills: Option<Arc<dyn DrillRunner>>,
    /// Who takes alerts to where they should go; `None`: they are only shown.
    pub alerts: Option<Arc<dyn AlertOutlet>>,
    pub version: &'static str,
    pub revision: &'static str,
}

pub struct Agent {
    clock: Arc<dyn Clock>,
    local: LocalWatch,
    rounds: mpsc::Receiver<LocalRound>,
    stores: Arc<dyn Stores>,
    configuration: Arc<dyn Configuration>,
    /// `None` without one, and while it is being written.
    journal: Option<Box<dyn Journal>>,
    saving: Option<JoinHandle<Saved>>,
    /// Nothing is known to be saved: the next time everything is.
    save_all: bool,
    /// There is a journal: what is known survives a restart.
    remembers: bool,
    publisher: Arc<dyn Publisher>,
    process: ProcessProbe,
    reloads: mpsc::Receiver<ReloadRequest>,
    configured: Configured,
    subjects: BTreeMap<TargetName, Subject>,
    saved: HashMap<EntryKey, String>,
    queue: Queue,
    places: HashMap<String, Place>,
    looks: JoinSet<Look>,
    flights: HashMap<tokio::task::Id, Flight>,
    verifying: Verifying,
    /// Who reads single pages of the databases.
    pages: Option<Arc<dyn PageReader>>,
    spots: Spots,
    beacons: Beacons,
    buckets: Buckets,
    /// Replicas that ever began, which numbers them.
    begun: u64,
    drills: Drills,
    alerts: Alerts,
    telling: Telling,
    judge: Judge,
    /// A configuration is being read, and who waits for it.
    reading: Option<Reading>,
    hanging: Hanging,
    believed: Believed,
    /// Names were given or forgotten that are not saved.
    names_unsaved: bool,
    dirty: BTreeSet<TargetName>,
    moving: BTreeSet<TargetName>,
    incomplete: BTreeSet<TargetName>,
    forgotten: Vec<EntryKey>,
    agent: AgentReport,
    next_discovery: Moment,
    next_save: Moment,
    published: Moment,
}

impl Agent {
    /// Prepares an agent for a configuration that was already read. Starts the watch thread.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(
        parts: AgentParts,
        configured: Configured,
        reloads: mpsc::Receiver<ReloadRequest>,
    ) -> Result<Self, Reason> {
        let now = parts.clock.now();
        let pages = parts.watch.pages();
        let (local, rounds) = LocalWatch::start(parts.watch, Arc::clone(&parts.clock))
            .map_err(|error| Reason::from(error).context("start the watch thread"))?;
        let mut journal = parts.journal;
        let mut state = journal.as_ref().map(|_| StateReport::default());
        let mut saved: HashMap<_, _> = match journal.as_mut().map(|journal| journal.load()) {
            Some(Ok(entries)) => {
                state = journal
                    .as_ref()
                    .map(|journal| StateReport { set_aside: journal.set_aside(), ..Default::default() });
                entries.into_iter().collect()
            }
            Some(Err(reason)) => {
                let hint = reason.hint.as_deref();
                tracing::error!(%reason, hint, "nothing is remembered over a restart, which is tried again");
                state = Some(StateReport { saved: Some(false), reason: Some(reason), ..StateReport::default() });
                HashMap::new()
            }
            None => HashMap::new(),
        };
        let mut alerts = Alerts::new(parts.alerts, now);
        let mut only = |kind| saved.remove(&EntryKey::only(kind));
        // The configuration was read with them.
        only(EntryKind::Names);
        let believed = Believed::restore(only(EntryKind::Sources), &configured.sources);
        alerts.restore(only(EntryKind::Alerts), only(EntryKind::Notified), &configured.alerting, now);
        let collector = |collector| CollectorReport {
            collector,
            success: false,
            last_success_at: None,
            last_round_at: now.wall,
            interval_seconds: None,
            duration: Default::default(),
        };
        let agent = AgentReport {
            version: parts.version,
            revision: parts.revision,
            started_at: now.wall,
            config: ConfigReport { last_reload_successful: true, last_reload_success_at: Some(now.wall), error: None },
            sources: configured.sources.clone(),
            collectors: vec![collector("local"), collector("sweep"), collector("replica")],
            stores: Vec::new(),
            buckets: Vec::new(),
            receivers: Vec::new(),
            process: None,
            drill_budget: None,
            state,
            cost: CostReport::default(),
        };
        let mut this = Self {
            clock: parts.clock,
            local,
            rounds,
            stores: parts.stores,
            configuration: parts.configuration,
            save_all: agent.state.as_ref().is_some_and(|state| state.saved == Some(false) || state.set_aside > 0),
            remembers: journal.is_some(),
            journal,
            saving: None,
            publisher: parts.publisher,
            process: parts.process,
            reloads,
            configured: Configured { targets: Vec::new(), ..configured.clone() },
            subjects: BTreeMap::new(),
            saved,
            queue: Queue::default(),
            places: HashMap::new(),
            looks: JoinSet::new(),
            flights: HashMap::new(),
            verifying: Verifying::default(),
            pages,
            spots: Spots::default(),
            beacons: Beacons::default(),
            buckets: Buckets::default(),
            begun: 0,
            drills: Drills::new(parts.drills),
            alerts,
            telling: Telling::default(),
            judge: Judge::default(),
            reading: None,
            hanging: Hanging::new(),
            believed,
            names_unsaved: true,
            dirty: BTreeSet::new(),
            moving: BTreeSet::new(),
            incomplete: BTreeSet::new(),
            forgotten: Vec::new(),
            agent,
            next_discovery: after(now, configured.pace.discovery),
            next_save: after(now, SAVE_INTERVAL),
            published: now,
        };
        this.adopt(configured, false, now);
        Ok(this)
    }

    /// Watches until `stop` resolves, then saves what survives.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut publishing = tokio::time::interval(self.configured.pace.poll.max(Duration::from_millis(50)));
        publishing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watching = true;
        loop {
            let now = self.clock.now();
            self.launch_due(now);
            self.launch_drill(now);
            self.evaluate_alerts(now);
            let waits = self.queue.wait(now).into_iter().chain(self.drills.wait(now)).chain([self.alerts.wait(now)]);
            let wait = waits.fold(Duration::from_secs(60), Duration::min);
            tokio::select! {
                // What comes rarely comes first, so that a flood of what is behind it never keeps it waiting.
                biased;
                () = &mut stop => break,
                _ = publishing.tick() => self.tick(),
                read = configuration(&mut self.reading) => self.take_configuration(read),
                saved = saved(&mut self.saving) => self.conclude_save(saved),
                Some(request) = self.reloads.recv() => self.reload(request),
                round = self.rounds.recv(), if watching => match round {
                    Some(round) => self.take_round(round),
                    None => {
                        watching = false;
                        self.blind();
                    }
                },
                drill = self.drills.ended() => self.conclude_drill(drill),
                Some(look) = self.looks.join_next_with_id(), if !self.looks.is_empty() => self.conclude(look),
                Some(verified) = self.verifying.tasks.join_next_with_id(), if !self.verifying.tasks.is_empty() => {
                    self.conclude_verification(verified);
                }
                Some(round) = self.spots.tasks.join_next_with_id(), if !self.spots.tasks.is_empty() => {
                    self.conclude_spot(round);
                }
                Some(written) = self.beacons.tasks.join_next_with_id(), if !self.beacons.tasks.is_empty() => {
                    self.conclude_beacon(written);
                }
                Some(looked) = self.buckets.tasks.join_next(), if !self.buckets.tasks.is_empty() => {
                    self.conclude_bucket(looked);
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.looks.abort_all();
        self.drills.stop().await;
        self.verifying.tasks.abort_all();
        self.spots.tasks.abort_all();
        self.beacons.tasks.abort_all();
        self.buckets.tasks.abort_all();
        self.finish_saving().await;
        self.save(true);
        self.finish_saving().await;
    }

    /// Takes over a configuration: new targets begin, changed ones begin anew, those that are gone are kept for a while. One
    /// that nobody `asked` for is not believed when too many are gone.
    fn adopt(&mut self, configured: Configured, asked: bool, now: Moment) {
        let mut configured = configured;
        self.take_names(&mut configured.names, now);
        let mut wanted: BTreeMap<TargetName, Target> =
            configured.targets.iter().map(|target| (target.name.clone(), target.clone())).collect();
        self.hand_over(&wanted);
        let kept = self.doubt(&mut configured.sources, &wanted, asked);
        for (name, subject) in &mut self.subjects {
            match wanted.remove(name) {
                Some(_) => subject.gone_since = None,
                None if kept && subject.gone_since.is_none() => {}
                None => subject.gone_since = subject.gone_since.or(Some(now)),
            }
        }
        self.agent.sources.clone_from(&configured.sources);
        let limits = self.configured.drills != configured.drills;
        self.configured = Configured { targets: Vec::new(), ..configured };
        self.alerts.configure(&self.configured.alerting);
        if limits {
            self.plan_all_drills(now);
        }
        for replica in self.subjects.values_mut().flat_map(|subject| &mut subject.replicas) {
            let (depth, budget) = means(&replica.target, &self.configured.pace.verify);
            replica.ledger.set_policy(depth, budget);
        }
        for target in wanted.into_values() {
            self.begin(target, now);
        }
        self.forget_waiting();
        self.plan_buckets();
        self.cancel_drill();
        self.send_targets();
    }

    /// A replica by its place, if it is watched.
    fn replica_mut(&mut self, id: &ReplicaId) -> Option<&mut WatchedReplica> {
        self.subjects.get_mut(&id.0)?.replicas.get_mut(id.1)
    }

    fn begin(&mut self, target: Target, now: Moment) {
        let name = target.name.clone();
        let replicas = target.replicas.iter();
        let numbered = (self.begun..).zip(replicas);
        let verify = self.configured.pace.verify;
        let replicas = numbered.map(|(number, replica)| {
            let ledger = ledger(replica, &verify, target.objectives.restorer);
            WatchedReplica::new(replica.clone(), self.stores.open(&replica.location), number, ledger)
        });
        let saved = self.saved.remove(&EntryKey::target(&name));
        let mut subject =
            Subject::new(target.clone(), replicas.collect(), saved.as_deref(), &self.configured.pace, now);
        if let Some(objects) = self.saved.remove(&EntryKey::objects(&name)) {
            subject.restore_objects(&objects, now);
        }
        let able = self.pages.is_some() && target.database.is_some();
        subject.replicas.iter_mut().for_each(|replica| replica.spotting.able = able);
        self.begun += target.replicas.len() as u64;
        self.subjects.insert(name.clone(), subject);
        for index in 0..target.replicas.len() {
            self.schedule(&(name.clone(), index), now);
        }
        self.dirty.insert(name.clone());
        self.incomplete.insert(name);
    }

    fn remove(&mut self, name: &TargetName) {
        let Some(subject) = self.subjects.remove(name) else { return };
        for (index, replica) in subject.replicas.iter().enumerate() {
            let id = (name.clone(), index);
            if let Some(due) = replica.due {
                self.queue.remove(due, &id);
            }
            self.drills.remove(&id, replica.drilling.due);
        }
        for set in [&mut self.dirty, &mut self.moving, &mut self.incomplete] {
            set.remove(name);
        }
    }

    fn send_targets(&self) {
        let databases = self
            .subjects
            .values()
            .filter_map(|subject| subject.target.database.clone().map(|files| (subject.target.name.clone(), files)));
        self.local.set_targets(databases.collect(), self.configured.pace.poll, self.configured.pace.sweep);
    }

    /// The watch thread ended: what it would have seen is not known from now on.
    fn blind(&mut self) {
        tracing::error!("the watch thread ended; databases are no longer looked at");
        self.collector("local", false, Duration::ZERO);
        let reason = Reason::new(ReasonKind::Failed, "watch databases: internal error").with_hint("restart the agent");
        for (name, subject) in self.subjects.iter_mut().filter(|(_, subject)| subject.target.database.is_some()) {
            subject.observe(LocalUpdate {
                target: name.clone(),
                look: Err(reason.clone()),
                posture: None,
                polled: false,
            });
            self.dirty.insert(name.clone());
        }
    }

    fn take_round(&mut self, round: LocalRound) {
        let now = self.clock.now();
        let success = round.updates.iter().all(|update| update.look.is_ok());
        self.round_ended(if round.swept { "sweep" } else { "local" }, now);
        if round.swept {
            self.collector("sweep", success, round.took);
        } else if !round.updates.is_empty() {
            self.collector("local", success, round.took);
        }
        for update in round.updates {
            let name = update.target.clone();
            let Some(subject) = self.subjects.get_mut(&name) else { continue };
            let behind = subject.observe(update);
            self.dirty.insert(name.clone());
            for index in behind {
                self.hurry(&(name.clone(), index), now);
            }
        }
    }

    fn round_ended(&mut self, name: &str, now: Moment) {
        if let Some(collector) = self.agent.collectors.iter_mut().find(|collector| collector.collector == name) {
            collector.last_round_at = now.wall;
        }
    }

    /// How often each collector comes to an end of its round, when there is anything to look at.
    fn set_intervals(&mut self) {
        let pace = &self.configured.pace;
        let watched = self.subjects.values().any(|subject| subject.target.database.is_some());
        let replicated = self.subjects.values().any(|subject| !subject.replicas.is_empty());
        for collector in &mut self.agent.collectors {
            let (any, interval) = match collector.collector {
                "replica" => (replicated, pace.idle),
                _ => (watched, pace.poll),
            };
            collector.interval_seconds = any.then_some(interval.as_secs_f64());
        }
    }

    fn collector(&mut self, name: &str, success: bool, took: Duration) {
        let now = self.clock.now();
        let wall = now.wall;
        self.round_ended(name, now);
        let Some(collector) = self.agent.collectors.iter_mut().find(|collector| collector.collector == name) else {
            return;
        };
        collector.success = success;
        collector.duration.observe(took);
        if success {
            collector.last_success_at = Some(wall);
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.discover(now);
        self.forget_gone(now);
        self.give_up_waiting(now);
        self.write_beacons();
        self.look_at_bucket();
        if now.mono >= self.next_save.mono {
            self.save(false);
        }
        let old = now.since(self.published) >= PUBLISH_AT_LEAST;
        self.save_alerts();
        if !self.dirty.is_empty() || !self.moving.is_empty() || old {
            self.publish();
        }
    }

    /// Whoever waits for everything to have been looked at does not wait for a place that never comes to an end.
    fn give_up_waiting(&mut self, now: Moment) {
        for name in &self.incomplete {
            if self.subjects.get_mut(name).is_some_and(|subject| subject.give_up_waiting(now)) {
                self.dirty.insert(name.clone());
            }
        }
    }

    /// Ends what is gone from the configuration for long enough, and with it its series.
    fn forget_gone(&mut self, now: Moment) {
        let grace = SignedDuration::try_from(self.configured.pace.grace).unwrap_or(SignedDuration::MAX);
        let gone =
            self.subjects.iter().filter(|(_, subject)| subject.gone_since.is_some_and(|at| now.since(at) >= grace));
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        if gone.is_empty() {
            return;
        }
        for name in gone {
            tracing::info!(database = %name, "no longer watched");
            self.telling.forget(&name);
            self.remove(&name);
            self.forgotten.extend([EntryKey::objects(&name), EntryKey::target(&name)]);
        }
        self.plan_buckets();
        self.send_targets();
        self.publish();
    }

    /// Builds what changed anew and hands the report out.
    fn publish(&mut self) {
        let now = self.clock.now();
        self.published = now;
        let report = self.assemble(now);
        self.publisher.publish(report);
    }

    /// Everything as it is, with what changed built anew.
    fn assemble(&mut self, now: Moment) -> Report {
        self.set_intervals();
        let changed: BTreeSet<_> = self.dirty.iter().chain(&self.moving).cloned().collect();
        self.dirty.clear();
        for name in &changed {
            let Some(subject) = self.subjects.get_mut(name) else { continue };
            subject.rebuild(&self.configured.pace, now);
            if subject.complete() {
                self.incomplete.remove(name);
            }
            if subject.moving(now) {
                self.moving.insert(name.clone());
            } else {
                self.moving.remove(name);
            }
        }
        self.agent.stores = self.stores.report();
        self.agent.receivers = self.alerts.receivers();
        self.agent.buckets = self.buckets.report();
        self.agent.process = (self.process)();
        self.agent.drill_budget = self.drill_budget(now.wall);
        let databases = self.databases();
        let counted = now.wall.duration_since(self.agent.started_at).as_secs_f64();
        self.agent.cost = self.configured.costs.report(&mut self.agent.stores, &databases, counted);
        let assessment = Assessment {
            complete: self.incomplete.is_empty(),
            agent: self.agent.clone(),
            databases,
            over_limit: self.configured.over_limit,
        };
        let report = Report {
            generated_at: now.wall,
            verdicts: self.judge.judge(&assessment, now.wall, Watching::Continuously),
            assessment,
            alerts: self.alerts.list(),
            alerts_dropped: self.alerts.dropped(),
        };
        let changed = changed.iter().filter_map(|name| self.subjects.get(name));
        telling::tell(changed.flat_map(|subject| self.telling.compare(subject, &report, now)).collect());
        report
    }

    fn databases(&self) -> Vec<Arc<DatabaseReport>> {
        self.subjects.values().map(|subject| Arc::clone(&subject.report)).collect()
    }
}

fn after(now: Moment, duration: Duration) -> Moment {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let wall = now.wall.checked_add(duration).unwrap_or(Timestamp::MAX);
    Moment { wall, mono: now.mono.saturating_add(duration) }
}
