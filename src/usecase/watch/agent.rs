//! The one task that owns the state: it waits for something to happen, and does in one turn all that follows.

mod adopt;
mod publish;
mod reading;
mod saving;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio::time::{Interval, MissedTickBehavior};

use self::reading::Reading;
use self::saving::{Memory, Saved};
use super::alerts::Alerts;
use super::collectors::Collectors;
use super::doubt::Believed;
use super::duty;
use super::fleet::Fleet;
use super::local::{LocalRound, LocalWatch};
use super::series::SeriesLimit;
use super::telling::Telling;
use super::turn::{Duty, Shared, Turn};
use crate::domain::assess::costs::Spacing;
use crate::domain::assessment::{AgentReport, ConfigReport};
use crate::domain::check::{Judge, Watching};
use crate::domain::history::Recorder;
use crate::domain::limits::WAITING_ROUNDS_MAX;
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{
    AlertOutlet, AskedBy, Clock, Configuration, Configured, DatabaseWatch, DrillRunner, EntryKind, Journal,
    LocalUpdate, Pace, ProcessProbe, Publisher, Stores, WatchRunner,
};

/// A report is published so often although nothing changed, so that it shows that the agent goes on.
const PUBLISH_AT_LEAST: SignedDuration = SignedDuration::from_secs(30);

/// However short the poll interval is, changes are published this far apart at least.
const TICK_MIN: Duration = Duration::from_millis(50);

/// Asks for a reload; the answer is what went wrong, for a person.
pub type ReloadRequest = (AskedBy, oneshot::Sender<Result<(), String>>);

/// The ports and settings of an agent.
pub struct AgentParts {
    pub clock: Arc<dyn Clock>,
    pub watch: Box<dyn DatabaseWatch>,
    pub run_watch: WatchRunner,
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
    publisher: Arc<dyn Publisher>,
    process: ProcessProbe,
    shared: Shared,
    duties: Vec<Box<dyn Duty>>,
    rounds: mpsc::Receiver<LocalRound>,
    /// The watch thread is there.
    watching: bool,
    reloads: mpsc::Receiver<ReloadRequest>,
    reading: Reading,
    memory: Memory,
    believed: Believed,
    alerts: Alerts,
    telling: Telling,
    judge: Judge,
    series: SeriesLimit,
    recorder: Recorder,
    spacing: Spacing,
    /// As it is configured; in force is what the spacing makes of it.
    pace: Pace,
    /// What is known of the agent itself; the rest is filled in when a report is built.
    report: AgentReport,
    published: Moment,
}

/// What a turn begins with.
enum Event {
    Tick,
    Read(Box<reading::Read>),
    Saved(Result<Saved, JoinError>),
    Reload(ReloadRequest),
    /// The watch thread has looked at databases so often; none: it ended.
    Rounds(usize),
    /// Works of duties have ended.
    Ended,
    /// Time has passed.
    Due,
}

impl Agent {
    /// Prepares an agent for a configuration that was already read. Starts the watch thread.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(
        parts: AgentParts,
        mut configured: Configured,
        reloads: mpsc::Receiver<ReloadRequest>,
    ) -> Result<Self, Reason> {
        let now = parts.clock.now();
        let pages = parts.watch.pages();
        let (local, rounds) = LocalWatch::start(parts.watch, Arc::clone(&parts.clock), parts.run_watch)
            .map_err(|error| Reason::from(error).context("start the watch thread"))?;
        let remembers = parts.journal.is_some();
        let mut memory = Memory::load(parts.journal, now);
        // The configuration was read with them.
        memory.take(EntryKind::Names);
        let believed = Believed::restore(memory.take(EntryKind::Sources), &configured.sources);
        let mut alerts = Alerts::new(parts.alerts, now);
        let (saved, notified) = (memory.take(EntryKind::Alerts), memory.take(EntryKind::Notified));
        alerts.restore(saved, notified, &configured.alerting, now);
        // They are many, and come with everything else.
        let targets = std::mem::take(&mut configured.targets);
        let shared = Shared {
            fleet: Fleet::default(),
            configured: configured.clone(),
            stores: parts.stores,
            local,
            pages,
            collectors: Collectors::new(now),
            remembers,
            configuration: Arc::clone(&parts.configuration),
            version: parts.version,
            looked: Vec::new(),
            readable: Vec::new(),
            publish: false,
        };
        let mut this = Self {
            clock: parts.clock,
            publisher: parts.publisher,
            process: parts.process,
            shared,
            duties: duty::all(parts.drills),
            rounds,
            watching: true,
            reloads,
            reading: Reading::new(parts.configuration, first_reading(&configured, now), now),
            memory,
            believed,
            alerts,
            telling: Telling::default(),
            judge: Judge::new(Watching::Continuously),
            series: SeriesLimit::default(),
            recorder: Recorder::default(),
            spacing: Spacing::default(),
            pace: configured.pace.clone(),
            report: report(parts.version, parts.revision, now),
            published: now,
        };
        this.report.sources.clone_from(&configured.sources);
        this.adopt(Configured { targets, ..configured }, false, now);
        Ok(this)
    }

    /// Watches until `stop` resolves, then saves what survives.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut ticks = self.ticks();
        let mut turn = Turn { now: self.clock.now(), tick: false };
        let mut rounds = Vec::new();
        loop {
            let wait = self.begin(turn);
            if ticks.period() != self.tick_interval() {
                ticks = self.ticks();
            }
            let event = tokio::select! {
                // What comes rarely comes first, so that a flood of what is behind it never keeps it waiting.
                biased;
                () = &mut stop => break,
                _ = ticks.tick() => Event::Tick,
                read = self.reading.ended() => Event::Read(Box::new(read)),
                saved = self.memory.written() => Event::Saved(saved),
                Some(request) = self.reloads.recv() => Event::Reload(request),
                count = self.rounds.recv_many(&mut rounds, WAITING_ROUNDS_MAX), if self.watching => Event::Rounds(count),
                () = std::future::poll_fn(|context| poll_ended(&mut self.duties, context)) => Event::Ended,
                () = tokio::time::sleep(wait) => Event::Due,
            };
            // Looks at databases that were made before something else ended are taken in before it.
            rounds.extend(std::iter::from_fn(|| self.rounds.try_recv().ok()));
            turn = Turn { now: self.clock.now(), tick: matches!(event, Event::Tick) };
            rounds.drain(..).for_each(|round| self.take_round(round, turn.now));
            self.take(event, turn.now);
        }
        for duty in &mut self.duties {
            duty.crew().stop().await;
        }
        self.finish_saving().await;
    }

    /// Begins what is due, and says how long it is until something else is.
    fn begin(&mut self, turn: Turn) -> Duration {
        let waits = self.duties.iter_mut().filter_map(|duty| duty.begin(&mut self.shared, turn));
        let wait = waits.fold(Duration::from_secs(60), Duration::min);
        self.evaluate_alerts(turn.now);
        wait.min(self.alerts.wait(turn.now))
    }

    fn take(&mut self, event: Event, now: Moment) {
        match event {
            Event::Tick => self.tick(now),
            Event::Read(read) => self.take_configuration(*read, now),
            Event::Saved(saved) => self.conclude_save(saved, now),
            Event::Reload(request) => self.reload(request, now),
            Event::Rounds(0) => self.blind(now),
            Event::Ended => self.duties.iter_mut().for_each(|duty| duty.conclude(&mut self.shared, now)),
            Event::Rounds(_) | Event::Due => {}
        }
        if self.shared.publish {
            self.publish(now);
        }
    }

    fn tick_interval(&self) -> Duration {
        self.shared.configured.pace.poll.max(TICK_MIN)
    }

    fn ticks(&self) -> Interval {
        let mut ticks = tokio::time::interval(self.tick_interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    fn tick(&mut self, now: Moment) {
        self.discover(now);
        self.forget_gone(now);
        self.shared.fleet.give_up_waiting(now);
        self.save_in_time(now);
        self.save_alerts(now);
        self.space_out(now);
        let age = now.since(self.published);
        if age < self.shared.fleet.publish_interval() {
            return;
        }
        let news = self.shared.fleet.refresh(&self.shared.configured.pace, now);
        if news || age >= PUBLISH_AT_LEAST {
            self.publish(now);
        }
    }

    fn take_round(&mut self, round: LocalRound, now: Moment) {
        let success = round.updates.iter().all(|update| update.look.is_ok());
        let collectors = &mut self.shared.collectors;
        match (round.swept, round.updates.is_empty()) {
            (true, _) => collectors.sweep.ended(success, round.took, now),
            (false, false) => collectors.local.ended(success, round.took, now),
            (false, true) => collectors.local.idle(now),
        }
        for update in round.updates {
            self.shared.fleet.observe(update, &self.shared.configured.pace, now);
        }
    }

    /// The watch thread ended: what it would have seen is not known from now on.
    fn blind(&mut self, now: Moment) {
        tracing::error!("the watch thread ended; databases are no longer read");
        self.watching = false;
        let Shared { fleet, collectors, configured, .. } = &mut self.shared;
        collectors.local.ended(false, Duration::ZERO, now);
        let reason = Reason::new(ReasonKind::Failed, "watch databases: internal error").with_hint("restart the agent");
        for (target, _) in fleet.databases() {
            let update = LocalUpdate { target, look: Err(reason.clone()), posture: None, polled: false };
            fleet.observe(update, &configured.pace, now);
        }
    }
}

/// Polls all duties, so that each of them wakes the agent.
fn poll_ended(duties: &mut [Box<dyn Duty>], context: &mut Context<'_>) -> Poll<()> {
    let polls = duties.iter_mut().map(|duty| duty.crew().poll_ended(context));
    if polls.filter(Poll::is_ready).count() > 0 { Poll::Ready(()) } else { Poll::Pending }
}

/// When the configuration is read for the first time: at once where something of it could not be seen before the agent
/// started.
fn first_reading(configured: &Configured, now: Moment) -> Moment {
    if configured.sources.iter().all(|source| source.success) { now.after(configured.pace.discovery) } else { now }
}

/// What is known of an agent that starts.
fn report(version: &'static str, revision: &'static str, now: Moment) -> AgentReport {
    AgentReport {
        version,
        revision,
        started_at: now.wall(),
        config: ConfigReport::read_at(now.wall()),
        ..AgentReport::default()
    }
}
