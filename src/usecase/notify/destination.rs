//! One place that is told, in a task of its own: a slow one delays no other.

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::SignedDuration;
use tokio::sync::watch;

use super::told::{Due, Next, Style, Told};
use crate::domain::alert::Alert;
use crate::domain::alerting::ReceiverTarget;
use crate::domain::assessment::ReceiverReport;
use crate::domain::human::{age_seconds, spoken};
use crate::domain::limits::{ALERTMANAGER_BATCH_MAX, MESSAGE_ALERTS_MAX};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{AlertBoard, AlertMessage, AlertReceiver, Clock};

/// The newest board, and when it came.
pub(super) type Board = Option<(Moment, Arc<AlertBoard>)>;

/// The state of a destination, which outlives a change of its settings.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) told: Told,
    pub(super) report: ReceiverReport,
}

/// State that a task writes and the agent reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Destination {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) target: ReceiverTarget,
    pub(super) receiver: Arc<dyn AlertReceiver>,
    pub(super) state: Shared,
}

impl Destination {
    /// Tells until `stop` is true or its sender is gone.
    pub(super) async fn run(self, mut boards: watch::Receiver<Board>, mut stop: watch::Receiver<bool>) {
        let style = Style::of(&self.target.kind);
        loop {
            if *stop.borrow_and_update() {
                return;
            }
            let board = boards.borrow_and_update().as_ref().map(|(_, board)| Arc::clone(board));
            let next = match board {
                Some(board) => self.state.lock().told.next(&board, &self.target, style, self.clock.now()),
                None => Next::Wait(SignedDuration::from_secs(3600)),
            };
            match next {
                Next::Send(due) => self.deliver(due, style, &stop).await,
                Next::Wait(wait) => {
                    let wait = Duration::try_from(wait).unwrap_or_default();
                    tokio::select! {
                        changed = boards.changed() => if changed.is_err() { return },
                        changed = stop.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    async fn deliver(&self, due: Due, style: Style, stop: &watch::Receiver<bool>) {
        let (mut failed, mut refused) = (None, None);
        let begun = self.clock.now();
        for (firing, resolved) in batches(&due, style) {
            if *stop.borrow() {
                return;
            }
            let message = message(&due, (&firing, &resolved), &self.target, style, begun);
            let sent = caught(self.receiver.send(&message)).await;
            let now = self.clock.now();
            let mut state = self.state.lock();
            match sent {
                Ok(()) => {
                    state.told.record(&firing, &resolved, style, now);
                    state.report.notifications += 1;
                    state.report.last_success_at = Some(now.wall());
                }
                Err(reason) => {
                    count(&mut state.report, &reason);
                    let gone = matches!(
                        reason.kind,
                        ReasonKind::Timeout | ReasonKind::Unreachable | ReasonKind::Throttled | ReasonKind::Denied
                    );
                    if style == Style::Each && !gone {
                        let alerts = [firing, resolved].concat();
                        state.told.refused(&alerts, chance(), now);
                        refused = Some(reason);
                        continue;
                    }
                    failed = Some(reason);
                    if gone {
                        break;
                    }
                }
            }
        }
        let now = self.clock.now();
        let mut state = self.state.lock();
        match &failed {
            None => state.told.succeeded(),
            Some(reason) => state.told.failed(&self.target, style, reason.retry_after, chance(), now),
        }
        match failed.or(refused) {
            Some(reason) => ill(&mut state.report, reason, now),
            None if state.told.takes_all() => well(&mut state.report, now),
            None => {}
        }
    }
}

/// A panic while something is sent is that message's failure, and not the end of all that come after it.
pub(super) async fn caught(sending: impl Future<Output = Result<(), Reason>>) -> Result<(), Reason> {
    let failed = |_| Err(Reason::new(ReasonKind::Failed, "send: internal error"));
    AssertUnwindSafe(sending).catch_unwind().await.unwrap_or_else(failed)
}

/// Those that fire, and those that do no longer.
type Batch = (Vec<Arc<Alert>>, Vec<Arc<Alert>>);

/// The alerts of each message: told when it has arrived, also those that it only counts.
fn batches(due: &Due, style: Style) -> Vec<Batch> {
    let most = match style {
        Style::Group => usize::MAX,
        Style::Each => 1,
        Style::Mirror => ALERTMANAGER_BATCH_MAX,
    };
    let mut batches: Vec<Batch> = Vec::new();
    let mut room = 0;
    let all = due.firing.iter().map(|alert| (alert, false)).chain(due.resolved.iter().map(|alert| (alert, true)));
    for (alert, over) in all {
        if room == 0 {
            batches.push(Default::default());
            room = most;
        }
        room -= 1;
        if let Some((firing, resolved)) = batches.last_mut() {
            if over { resolved } else { firing }.push(Arc::clone(alert));
        }
    }
    batches
}

fn message(
    due: &Due,
    (firing, resolved): (&[Arc<Alert>], &[Arc<Alert>]),
    target: &ReceiverTarget,
    style: Style,
    now: Moment,
) -> AlertMessage {
    let most = if style == Style::Group { MESSAGE_ALERTS_MAX } else { usize::MAX };
    let shown: Vec<_> = firing.iter().take(most).cloned().collect();
    let over: Vec<_> = resolved.iter().take(most - shown.len()).cloned().collect();
    AlertMessage {
        receiver: target.name.clone(),
        at: now.wall(),
        omitted: firing.len() + resolved.len() - shown.len() - over.len(),
        firing: shown,
        resolved: over,
        firing_total: due.firing_total,
        repeated: due.repeated,
        valid_until: now.after(target.repeat_interval.saturating_mul(4)).wall(),
    }
}

/// Counts a message that did not arrive.
pub(super) fn count(report: &mut ReceiverReport, reason: &Reason) {
    let kind = reason.kind.as_str();
    match report.failures.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += 1,
        None => report.failures.push((kind, 1)),
    }
    tracing::debug!(receiver = report.receiver, %reason, "notification not delivered");
}

/// Remembers that the last attempt failed, and says so the first time.
pub(super) fn ill(report: &mut ReceiverReport, reason: Reason, now: Moment) {
    if report.failing_since.is_none() {
        let (receiver, kind, hint) = (&report.receiver, reason.kind.as_str(), reason.hint.as_deref());
        tracing::warn!(receiver, kind, %reason, hint, "notifications are not getting through");
        report.failing_since = Some(now.wall());
    }
    report.reason = Some(reason);
}

/// Remembers that the last attempt succeeded.
pub(super) fn well(report: &mut ReceiverReport, now: Moment) {
    if let Some(since) = report.failing_since.take() {
        let after = spoken(age_seconds(since, now.wall()));
        tracing::info!(receiver = report.receiver, after, "notifications are getting through again");
    }
    report.reason = None;
}

/// A number from 0 to 1 that nobody foresees.
pub(super) fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0_u8) as u32) / f64::from(u32::MAX)
}
