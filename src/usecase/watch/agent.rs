//! The one task that owns the state.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};

use super::local::{LocalRound, LocalWatch};
use super::replica::WatchedReplica;
use super::schedule::{Queue, ReplicaId, after_commit, after_look, busy_interval};
use super::subject::Subject;
use crate::domain::assess::proof::Evidence;
use crate::domain::check::Watching;
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::{AgentReport, CollectorReport, ConfigReport, Report, SCHEMA};
use crate::domain::target::{ReplicaLocation, Target, TargetName};
use crate::usecase::ports::{
    Clock, Configuration, Configured, DatabaseWatch, Journal, ProcessProbe, Publisher, Stores,
};
use crate::usecase::replica_probe::{Finding, ReplicaProbe};

/// How often what survives a restart is written.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);

/// The longest that one look at a replica may take; a first listing of millions of keys needs its time.
const LOOK_TIMEOUT: Duration = Duration::from_secs(900);

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
    pub version: &'static str,
    pub revision: &'static str,
}

/// A look at a replica that came to an end.
struct Look {
    id: ReplicaId,
    place: String,
    probe: ReplicaProbe,
    started: Moment,
    result: Result<(Finding, Evidence), Reason>,
}

/// Looks in flight and waiting for one place, so that a place that hangs only delays itself.
#[derive(Default)]
struct Place {
    in_flight: usize,
    waiting: VecDeque<ReplicaId>,
}

pub struct Agent {
    clock: Arc<dyn Clock>,
    local: LocalWatch,
    rounds: mpsc::Receiver<LocalRound>,
    stores: Arc<dyn Stores>,
    configuration: Arc<dyn Configuration>,
    journal: Option<Box<dyn Journal>>,
    publisher: Arc<dyn Publisher>,
    process: ProcessProbe,
    reloads: mpsc::Receiver<ReloadRequest>,
    configured: Configured,
    subjects: BTreeMap<TargetName, Subject>,
    saved: HashMap<String, String>,
    queue: Queue,
    places: HashMap<String, Place>,
    looks: JoinSet<Look>,
    dirty: BTreeSet<TargetName>,
    moving: BTreeSet<TargetName>,
    incomplete: BTreeSet<TargetName>,
    forgotten: Vec<String>,
    agent: AgentReport,
    next_discovery: Moment,
    next_save: Moment,
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
        let (local, rounds) = LocalWatch::start(parts.watch, Arc::clone(&parts.clock))
            .map_err(|error| Reason::from(error).context("start the watch thread"))?;
        let mut journal = parts.journal;
        let saved = match journal.as_mut().map(|journal| journal.load()) {
            Some(Ok(entries)) => entries.into_iter().collect(),
            Some(Err(reason)) => {
                tracing::warn!(%reason, "history of earlier runs is not available");
                HashMap::new()
            }
            None => HashMap::new(),
        };
        let collector = |collector| CollectorReport {
            collector,
            success: false,
            last_success_at: None,
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
            process: None,
        };
        let mut this = Self {
            clock: parts.clock,
            local,
            rounds,
            stores: parts.stores,
            configuration: parts.configuration,
            journal,
            publisher: parts.publisher,
            process: parts.process,
            reloads,
            configured: Configured { targets: Vec::new(), ..configured.clone() },
            subjects: BTreeMap::new(),
            saved,
            queue: Queue::default(),
            places: HashMap::new(),
            looks: JoinSet::new(),
            dirty: BTreeSet::new(),
            moving: BTreeSet::new(),
            incomplete: BTreeSet::new(),
            forgotten: Vec::new(),
            agent,
            next_discovery: after(now, configured.pace.discovery),
            next_save: after(now, SAVE_INTERVAL),
        };
        this.adopt(configured, now);
        Ok(this)
    }

    /// Watches until `stop` resolves, then saves what survives.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut publishing = tokio::time::interval(self.configured.pace.poll.max(Duration::from_millis(50)));
        publishing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = self.clock.now();
            self.launch_due(now);
            let wait = self.queue.wait(now).unwrap_or(Duration::from_secs(60));
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(request) = self.reloads.recv() => self.reload(request).await,
                round = self.rounds.recv() => match round {
                    Some(round) => self.take_round(round),
                    None => {
                        tracing::error!("the watch thread ended; databases are no longer looked at");
                        self.rounds = mpsc::channel(1).1;
                        self.collector("local", false, Duration::ZERO);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
                Some(look) = self.looks.join_next(), if !self.looks.is_empty() => self.conclude(look),
                _ = publishing.tick() => self.tick().await,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.looks.abort_all();
        self.save().await;
    }

    /// Takes over a configuration: new targets begin, changed ones begin anew, those that are gone are kept for a while.
    fn adopt(&mut self, configured: Configured, now: Moment) {
        let mut wanted: BTreeMap<TargetName, Target> =
            configured.targets.iter().map(|target| (target.name.clone(), target.clone())).collect();
        let changed = self
            .subjects
            .iter()
            .filter(|(name, subject)| wanted.get(*name).is_some_and(|target| *target != subject.target));
        let changed: Vec<_> = changed.map(|(name, subject)| (name.clone(), subject.save())).collect();
        for (name, saved) in changed {
            self.saved.insert(name.0.clone(), saved);
            self.remove(&name);
        }
        for (name, subject) in &mut self.subjects {
            match wanted.remove(name) {
                Some(_) => subject.gone_since = None,
                None => subject.gone_since = subject.gone_since.or(Some(now)),
            }
        }
        self.agent.sources.clone_from(&configured.sources);
        self.configured = Configured { targets: Vec::new(), ..configured };
        for target in wanted.into_values() {
            self.begin(target, now);
        }
        self.send_targets();
    }

    fn begin(&mut self, target: Target, now: Moment) {
        let name = target.name.clone();
        let replicas = target.replicas.iter();
        let replicas =
            replicas.map(|replica| WatchedReplica::new(replica.clone(), self.stores.open(&replica.location)));
        let saved = self.saved.remove(&name.0);
        let subject = Subject::new(target.clone(), replicas.collect(), saved.as_deref(), &self.configured.pace, now);
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
            if let Some(due) = replica.due {
                self.queue.remove(due, &(name.clone(), index));
            }
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

    async fn reload(&mut self, request: ReloadRequest) {
        let result = self.read_configuration().await;
        if result.is_ok() {
            tracing::info!(databases = self.subjects.len(), "configuration reloaded");
        }
        self.publish();
        // Whoever asked may have gone.
        let _ = request.send(result);
    }

    /// Reads the configuration and takes it over; one with mistakes changes nothing.
    async fn read_configuration(&mut self) -> Result<(), String> {
        let configuration = Arc::clone(&self.configuration);
        let read = spawn_blocking(move || configuration.load()).await.map_err(|error| error.to_string());
        let now = self.clock.now();
        let result = match read.flatten() {
            Ok(configured) => {
                self.agent.config.last_reload_success_at = Some(now.wall);
                self.adopt(configured, now);
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
        self.agent.config.last_reload_successful = result.is_ok();
        self.agent.config.error = result.as_ref().err().cloned();
        result
    }

    fn take_round(&mut self, round: LocalRound) {
        let now = self.clock.now();
        let success = round.updates.iter().all(|update| update.look.is_ok());
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

    /// A commit was seen: a look soon after it can find it in the replica.
    fn hurry(&mut self, id: &ReplicaId, now: Moment) {
        let Some(replica) = self.subjects.get(&id.0).and_then(|subject| subject.replicas.get(id.1)) else { return };
        if replica.probe.is_none() || replica.standing().failures > 0 {
            // In flight, or backing off: the look that follows is soon enough.
            return;
        }
        let soonest = after(now, after_commit(&replica.target));
        let paced = replica.last_look.map(|last| after(last, busy_interval(&replica.target, &self.configured.pace)));
        let due = match paced {
            Some(paced) if paced.mono > soonest.mono => paced,
            _ => soonest,
        };
        if replica.due.is_some_and(|planned| due.mono < planned.mono) {
            self.schedule(id, due);
        }
    }

    fn schedule(&mut self, id: &ReplicaId, due: Moment) {
        let Some(replica) = self.subjects.get_mut(&id.0).and_then(|subject| subject.replicas.get_mut(id.1)) else {
            return;
        };
        if let Some(planned) = replica.due.replace(due) {
            self.queue.remove(planned, id);
        }
        self.queue.insert(due, id.clone());
    }

    fn launch_due(&mut self, now: Moment) {
        while let Some(id) = self.queue.pop(now) {
            let Some(replica) = self.subjects.get_mut(&id.0).and_then(|subject| subject.replicas.get_mut(id.1)) else {
                continue;
            };
            replica.due = None;
            let place = place(&replica.target.location);
            let queue = self.places.entry(place.clone()).or_default();
            if queue.in_flight >= self.configured.pace.concurrency {
                queue.waiting.push_back(id);
            } else {
                self.launch(id, place);
            }
        }
    }

    fn launch(&mut self, id: ReplicaId, place: String) {
        let started = self.clock.now();
        let Some(subject) = self.subjects.get_mut(&id.0) else { return };
        let staged = subject.staged().cloned();
        let watched = subject.target.database.is_some();
        let Some(replica) = subject.replicas.get_mut(id.1) else { return };
        let Some(mut probe) = replica.probe.take() else { return };
        let store = replica.store.clone();
        self.places.entry(place.clone()).or_default().in_flight += 1;
        let local = self.local.clone();
        let pace = self.configured.pace.clone();
        self.looks.spawn(async move {
            let look = async {
                let store = store?;
                // The source first: whatever the bucket holds afterwards, it can only prove what was there before.
                let sampled = if watched { local.look(id.0.clone()).await } else { None };
                let verified_at = sampled.unwrap_or(started);
                probe.look(store.as_ref(), staged.as_ref(), verified_at, &pace).await
            };
            let result = tokio::time::timeout(LOOK_TIMEOUT, look).await.unwrap_or_else(|_| {
                Err(Reason::new(
                    ReasonKind::Timeout,
                    format!("look at replica: not done in {} s", LOOK_TIMEOUT.as_secs()),
                ))
            });
            Look { id, place, probe, started, result }
        });
    }

    fn conclude(&mut self, look: Result<Look, tokio::task::JoinError>) {
        let look = match look {
            Ok(look) => look,
            Err(error) if error.is_cancelled() => return,
            Err(error) => return self.recover(&error),
        };
        // Looks at the database that were made before this one ended are taken in before it.
        while let Ok(round) = self.rounds.try_recv() {
            self.take_round(round);
        }
        let now = self.clock.now();
        self.leave(&look.place);
        self.collector("replica", look.result.is_ok(), now.since(look.started).unsigned_abs());
        let pace = self.configured.pace.clone();
        let Some(replica) = self.subjects.get_mut(&look.id.0).and_then(|subject| subject.replicas.get_mut(look.id.1))
        else {
            return;
        };
        if let Err(reason) = &look.result {
            tracing::debug!(database = %look.id.0, replica = replica.target.name, %reason, "replica not verified");
        }
        replica.probe = Some(look.probe);
        replica.conclude(look.result, now);
        let due = after(now, after_look(replica.standing(), &replica.target, &pace));
        self.schedule(&look.id, due);
        if let Some(subject) = self.subjects.get_mut(&look.id.0) {
            subject.unsaved = true;
        }
        self.dirty.insert(look.id.0);
    }

    /// A look panicked, which is that look's failure: its replica starts again with a new probe.
    fn recover(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a look at a replica panicked");
        let now = self.clock.now();
        let lost = self.subjects.iter_mut().flat_map(|(name, subject)| {
            subject.replicas.iter_mut().enumerate().map(move |(index, replica)| (name, index, replica))
        });
        let mut lost: Vec<_> = lost.filter(|(_, _, replica)| replica.probe.is_none()).collect();
        // Which of those in flight it was is not known; the others bring their own probe back.
        let ids: Vec<ReplicaId> = lost
            .iter_mut()
            .map(|(name, index, replica)| {
                replica.probe = Some(ReplicaProbe::new(replica.target.encrypted));
                replica.conclude(Err(Reason::new(ReasonKind::Failed, "look at replica: internal error")), now);
                ((*name).clone(), *index)
            })
            .collect();
        for id in ids {
            self.schedule(&id, after(now, Duration::from_secs(60)));
        }
        self.places.clear();
        self.collector("replica", false, Duration::ZERO);
    }

    fn leave(&mut self, name: &str) {
        let Some(place) = self.places.get_mut(name) else { return };
        place.in_flight = place.in_flight.saturating_sub(1);
        let next = place.waiting.pop_front();
        if place.in_flight == 0 && next.is_none() {
            self.places.remove(name);
        }
        if let Some(next) = next {
            self.launch(next, name.to_owned());
        }
    }

    fn collector(&mut self, name: &str, success: bool, took: Duration) {
        let wall = self.clock.now().wall;
        let Some(collector) = self.agent.collectors.iter_mut().find(|collector| collector.collector == name) else {
            return;
        };
        collector.success = success;
        collector.duration.observe(took);
        if success {
            collector.last_success_at = Some(wall);
        }
    }

    async fn tick(&mut self) {
        let now = self.clock.now();
        let mut told = false;
        if now.mono >= self.next_discovery.mono {
            let before = self.agent.config.last_reload_successful;
            told = self.read_configuration().await.is_ok() != before;
        }
        self.forget_gone(now);
        if now.mono >= self.next_save.mono {
            self.save().await;
        }
        if told || !self.dirty.is_empty() || !self.moving.is_empty() {
            self.publish();
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
            self.remove(&name);
            self.forgotten.push(name.0);
        }
        self.send_targets();
        self.publish();
    }

    /// Builds what changed anew and hands the report out.
    fn publish(&mut self) {
        let now = self.clock.now();
        let changed: BTreeSet<_> = self.dirty.iter().chain(&self.moving).cloned().collect();
        self.dirty.clear();
        for name in changed {
            let Some(subject) = self.subjects.get_mut(&name) else { continue };
            subject.rebuild(&self.configured.pace, now, Watching::Continuously);
            if subject.complete() {
                self.incomplete.remove(&name);
            }
            if subject.moving(now) {
                self.moving.insert(name);
            } else {
                self.moving.remove(&name);
            }
        }
        self.agent.stores = self.stores.report();
        self.agent.process = (self.process)();
        self.publisher.publish(Report {
            schema: SCHEMA,
            generated_at: now.wall,
            complete: self.incomplete.is_empty(),
            agent: self.agent.clone(),
            databases: self.subjects.values().map(|subject| Arc::clone(&subject.report)).collect(),
            over_limit: self.configured.over_limit,
        });
    }

    async fn save(&mut self) {
        self.next_save = after(self.clock.now(), SAVE_INTERVAL);
        let Some(mut journal) = self.journal.take() else { return };
        let unsaved = self.subjects.iter_mut().filter(|(_, subject)| subject.unsaved);
        let entries: Vec<_> = unsaved
            .map(|(name, subject)| {
                subject.unsaved = false;
                (name.0.clone(), subject.save())
            })
            .collect();
        let gone = std::mem::take(&mut self.forgotten);
        let written = spawn_blocking(move || {
            let result = if entries.is_empty() && gone.is_empty() { Ok(()) } else { journal.save(&entries, &gone) };
            (journal, result)
        });
        match written.await {
            Ok((journal, result)) => {
                self.journal = Some(journal);
                if let Err(reason) = result {
                    tracing::warn!(%reason, "history not saved: a restart would lose it");
                }
            }
            Err(error) => tracing::error!(%error, "history is no longer saved"),
        }
    }
}

/// What shares one queue: a bucket at an endpoint, or all directories.
fn place(location: &ReplicaLocation) -> String {
    match location {
        ReplicaLocation::Directory(_) => "file".into(),
        ReplicaLocation::S3(s3) => format!("s3 {} {}", s3.endpoint.as_deref().unwrap_or_default(), s3.bucket),
        ReplicaLocation::Unsupported { kind, .. } => kind.clone(),
    }
}

fn after(now: Moment, duration: Duration) -> Moment {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let wall = now.wall.checked_add(duration).unwrap_or(Timestamp::MAX);
    Moment { wall, mono: now.mono.saturating_add(duration) }
}
