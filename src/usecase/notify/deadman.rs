//! The dead-man's switch: somebody else tells when this agent no longer says that all is well.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;

use super::destination::{Board, Shared, caught, chance, count, ill, well};
use super::told::backoff;
use crate::domain::alert::Alert;
use crate::domain::alerting::DeadmanTarget;
use crate::domain::limits::DEADMAN_TEXT_BYTES_MAX;
use crate::domain::moment::{Moment, signed};
use crate::usecase::ports::{AlertBoard, Clock, DeadmanSwitch};

/// The name in reports.
pub(super) const NAME: &str = "deadman";

pub(super) struct Deadman {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) target: DeadmanTarget,
    pub(super) switch: Arc<dyn DeadmanSwitch>,
    pub(super) state: Shared,
    /// A board that is older says nothing: nobody evaluates any more.
    pub(super) board_age_max: Duration,
}

impl Deadman {
    /// Pings until `stop` is true or its sender is gone.
    pub(super) async fn run(self, mut boards: watch::Receiver<Board>, mut stop: watch::Receiver<bool>) {
        let interval = signed(self.target.interval);
        // What was last said, and when.
        let mut last: Option<(Option<String>, Moment)> = None;
        let mut retry_at: Option<SignedDuration> = None;
        let mut attempts = 0;
        let mut silent = false;
        while !*stop.borrow_and_update() {
            let now = self.clock.now();
            let board = boards.borrow_and_update().clone();
            let wait = match self.says(&board, now) {
                None => {
                    if !std::mem::replace(&mut silent, true) && last.is_some() {
                        tracing::warn!("the dead-man's switch is not pinged: whether all is well is unknown");
                    }
                    interval
                }
                Some(says) => {
                    silent = false;
                    // Other words for the same trouble can wait for their turn; its beginning and its end cannot.
                    let changed = last.as_ref().is_none_or(|(said, _)| said.is_some() != says.is_some());
                    let turn = match &last {
                        Some((_, at)) if !changed => interval - now.since(*at),
                        _ => SignedDuration::ZERO,
                    };
                    let wait = turn.max(retry_at.map_or(SignedDuration::ZERO, |at| at - now.mono()));
                    if wait <= SignedDuration::ZERO {
                        let pinged = caught(self.switch.ping(says.as_deref())).await;
                        let now = self.clock.now();
                        let mut state = self.state.lock();
                        match pinged {
                            Ok(()) => {
                                state.report.notifications += 1;
                                state.report.last_success_at = Some(now.wall());
                                well(&mut state.report, now);
                                (last, retry_at, attempts) = (Some((says, now)), None, 0);
                            }
                            Err(reason) => {
                                count(&mut state.report, &reason);
                                let wanted = reason.retry_after.unwrap_or_default();
                                ill(&mut state.report, reason, now);
                                let wait = backoff(attempts, chance()).min(self.target.interval).max(wanted);
                                retry_at = SignedDuration::try_from(wait).ok().map(|wait| now.mono() + wait);
                                attempts += 1;
                            }
                        }
                        continue;
                    }
                    wait
                }
            };
            tokio::select! {
                changed = boards.changed() => if changed.is_err() { return },
                changed = stop.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()) => {}
            }
        }
    }

    /// `None`: it is not known whether all is well. `Some(None)`: it is. Else what is not.
    fn says(&self, board: &Board, now: Moment) -> Option<Option<String>> {
        let (came, board) = board.as_ref()?;
        let age = Duration::try_from(now.since(*came)).unwrap_or_default();
        if age > self.board_age_max {
            return None;
        }
        let why = why(board, &self.target);
        // Where nothing is watched, nothing is known to be well.
        (why.is_some() || board.complete && board.databases > 0).then_some(why)
    }
}

/// The firing alerts that are severe enough, as text; `None` when there are none.
fn why(board: &AlertBoard, target: &DeadmanTarget) -> Option<String> {
    let bad = |alert: &&Arc<Alert>| alert.holds() && alert.suppressed.is_none() && alert.severity >= target.severity;
    let firing: Vec<_> = board.alerts.iter().filter(bad).collect();
    if firing.is_empty() {
        return None;
    }
    let mut text = String::new();
    for (index, alert) in firing.iter().enumerate() {
        let said = |name: &str| alert.annotations.get(name).map_or("", String::as_str);
        let line =
            format!("{} {}: {}. {}\n", alert.severity.as_str(), alert.name(), said("summary"), said("description"));
        if text.len() + line.len() > DEADMAN_TEXT_BYTES_MAX {
            text.push_str(&format!("and {} more\n", firing.len() - index));
            break;
        }
        text.push_str(&line);
    }
    Some(text)
}
