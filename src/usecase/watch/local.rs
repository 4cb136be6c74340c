//! The thread on which databases are watched: blocking reads never meet the agent's own task.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::domain::limits::WAITING_ROUNDS_MAX;
use crate::domain::litestream::Txid;
use crate::domain::moment::Moment;
use crate::domain::target::{DatabaseFiles, TargetName};
use crate::usecase::ports::{Clock, DatabaseWatch, LocalUpdate, WatchRunner};

/// The outcome of one round on the thread.
pub(super) struct LocalRound {
    pub(super) updates: Vec<LocalUpdate>,
    pub(super) took: Duration,
    pub(super) swept: bool,
}

enum Command {
    Targets(Vec<(TargetName, Arc<DatabaseFiles>)>, Duration, Duration),
    Look { target: TargetName, staged: bool, reply: oneshot::Sender<Looked> },
}

/// What a look at one database answers.
#[derive(Clone, Copy, Default)]
pub(super) struct Looked {
    /// When it was sampled; `None` when it is not watched, or could not be sampled now.
    pub(super) at: Option<Moment>,
    /// The newest TXID that Litestream v0.5 has written beside it; `None` where that does not show, or was not asked for.
    pub(super) staged: Option<Txid>,
}

/// The agent's end. Dropping it ends the thread.
#[derive(Clone)]
pub(super) struct LocalWatch {
    commands: UnboundedSender<Command>,
}

impl LocalWatch {
    /// Has the watch begin; what it sees arrives at the receiver in the order in which it was seen.
    pub(super) fn start(
        watch: Box<dyn DatabaseWatch>,
        clock: Arc<dyn Clock>,
        run: WatchRunner,
    ) -> std::io::Result<(Self, Receiver<LocalRound>)> {
        let (commands, inbox) = unbounded_channel();
        let (rounds, outbox) = channel(WAITING_ROUNDS_MAX);
        let watching = Watching { watch, clock, rounds, poll: Duration::from_secs(1), sweep_per_poll: 0 };
        run(watching.run(inbox).boxed())?;
        Ok((Self { commands }, outbox))
    }

    /// Replaces what is watched. `sweep` is the time in which the sweep gets round once.
    pub(super) fn set_targets(&self, targets: Vec<(TargetName, Arc<DatabaseFiles>)>, poll: Duration, sweep: Duration) {
        // A thread that is gone is seen by the agent, whose receiver is then closed.
        let _ = self.commands.send(Command::Targets(targets, poll, sweep));
    }

    /// Has one database looked at now, and then asks, if that is wanted, what Litestream has `staged` beside it. The look itself
    /// arrives with the others, before this answers.
    pub(super) async fn look(&self, target: TargetName, staged: bool) -> Looked {
        let (reply, answer) = oneshot::channel();
        match self.commands.send(Command::Look { target, staged, reply }) {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Looked::default(),
        }
    }
}

struct Watching {
    watch: Box<dyn DatabaseWatch>,
    clock: Arc<dyn Clock>,
    rounds: Sender<LocalRound>,
    poll: Duration,
    sweep_per_poll: usize,
}

impl Watching {
    async fn run(mut self, mut inbox: UnboundedReceiver<Command>) {
        let mut pause = pin!(sleep(Duration::ZERO));
        loop {
            tokio::select! {
                biased;
                // First: a queue that is never empty does not keep the databases waiting.
                () = &mut pause => {
                    if !self.round().await {
                        return;
                    }
                    pause.set(sleep(self.poll));
                }
                command = inbox.recv() => match command {
                    Some(Command::Targets(targets, poll, sweep)) => {
                        let polls = (sweep.as_secs_f64() / poll.as_secs_f64().max(0.001)).max(1.0);
                        self.sweep_per_poll = (targets.len() as f64 / polls).ceil() as usize;
                        self.poll = poll;
                        self.watch.set_targets(targets);
                        pause.set(sleep(Duration::ZERO));
                    }
                    Some(Command::Look { target, staged, reply }) => {
                        let now = self.clock.now();
                        let update = self.watch.look(&target, now);
                        let at = update.is_some().then_some(now);
                        if !self.hand_over(update.into_iter().collect(), now, false).await {
                            return;
                        }
                        let staged = if staged { self.watch.staged(&target) } else { None };
                        // It may be that nobody waits for the answer any more: the look at the replica timed out.
                        let _ = reply.send(Looked { at, staged });
                    }
                    None => return,
                },
            }
        }
    }

    async fn round(&mut self) -> bool {
        let now = self.clock.now();
        let updates = self.watch.poll(now);
        if !self.hand_over(updates, now, false).await {
            return false;
        }
        let now = self.clock.now();
        let updates = self.watch.sweep(now, self.sweep_per_poll);
        self.hand_over(updates, now, true).await
    }

    /// `false` when the agent is gone.
    async fn hand_over(&mut self, updates: Vec<LocalUpdate>, since: Moment, swept: bool) -> bool {
        let took = self.clock.now().since(since).unsigned_abs();
        self.rounds.send(LocalRound { updates, took, swept }).await.is_ok()
    }
}
