//! Takes alerts to receivers: level-triggered, a task for each place, no queue.

mod deadman;
mod destination;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::deadman::Deadman;
use self::destination::{Board, Destination, Shared, State};
use self::told::SavedReceiver;
use crate::domain::alerting::{Alerting, DeadmanTarget, ReceiverTarget};
use crate::domain::assessment::ReceiverReport;
use crate::usecase::ports::{AlertBoard, AlertOutlet, AlertReceivers, Clock};

/// The version of what is saved.
const VERSION: u32 = 1;

/// The outlet of alerts. Its methods have to be called where tasks can be spawned.
pub struct Outlet {
    clock: Arc<dyn Clock>,
    receivers: Arc<dyn AlertReceivers>,
    boards: watch::Sender<Board>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    routes: Vec<Route>,
    deadman: Option<(DeadmanTarget, Duration, Running)>,
    /// The saved state of receivers that are not configured yet.
    saved: BTreeMap<String, SavedReceiver>,
}

/// A receiver and the places that it is.
struct Route {
    target: ReceiverTarget,
    places: Vec<Running>,
}

/// A task with its state. Dropping it ends the task once what it sends has arrived or failed.
struct Running {
    state: Shared,
    task: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    receivers: BTreeMap<String, SavedReceiver>,
}

impl Outlet {
    pub fn new(clock: Arc<dyn Clock>, receivers: Arc<dyn AlertReceivers>) -> Self {
        Self { clock, receivers, boards: watch::Sender::new(None), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(
        &self,
        target: &ReceiverTarget,
        before: Option<Route>,
        saved: &mut BTreeMap<String, SavedReceiver>,
    ) -> Route {
        let kind = target.kind.as_str();
        let mut before = before.filter(|route| route.target.kind.as_str() == kind).into_iter().flat_map(|r| r.places);
        let places = self.receivers.open(target).into_iter().enumerate().map(|(index, receiver)| {
            let before = before.next();
            let state = before.as_ref().map(|place| place.state.clone()).unwrap_or_default();
            {
                let mut state = state.lock();
                state.report.receiver.clone_from(&target.name);
                state.report.kind = kind;
                if let Some(saved) = saved.remove(&place_name(&target.name, index)).filter(|saved| saved.kind == kind) {
                    state.told.restore(saved, self.clock.now());
                }
            }
            let destination =
                Destination { clock: Arc::clone(&self.clock), target: target.clone(), receiver, state: state.clone() };
            self.start(state, before, |boards, stop| destination.run(boards, stop))
        });
        Route { target: target.clone(), places: places.collect() }
    }

    /// Starts a task, once the one before it has sent what it was sending.
    fn start<F>(
        &self,
        state: Shared,
        before: Option<Running>,
        run: impl FnOnce(watch::Receiver<Board>, watch::Receiver<bool>) -> F,
    ) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let run = run(self.boards.subscribe(), stopped);
        let before = before.map(|Running { task, _stop, .. }| {
            // Its receiver may be gone already, when the task has ended.
            let _ = _stop.send(true);
            task
        });
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // A task that panicked has ended as well.
                let _ = before.await;
            }
            run.await;
        });
        Running { state, task, _stop: stop }
    }
}

/// The name under which is saved what one place was told.
fn place_name(receiver: &str, index: usize) -> String {
    if index == 0 { receiver.to_owned() } else { format!("{receiver}/{index}") }
}

impl AlertOutlet for Outlet {
    fn configure(&self, alerting: &Alerting) {
        let mut inner = self.lock();
        let mut before = std::mem::take(&mut inner.routes);
        let mut saved = std::mem::take(&mut inner.saved);
        for target in &alerting.receivers {
            let known = before.iter().position(|route| route.target.name == target.name);
            let known = known.map(|at| before.swap_remove(at));
            let route = match known {
                Some(route) if route.target == *target => route,
                other => self.begin(target, other, &mut saved),
            };
            inner.routes.push(route);
        }
        // A board is told at each evaluation; some may be late.
        let age = (alerting.evaluation_interval * 4).max(Duration::from_secs(60));
        let before = inner.deadman.take();
        inner.deadman = alerting.deadman.as_ref().map(|target| match before {
            Some((known, known_age, running)) if known == *target && known_age == age => (known, age, running),
            other => {
                let before = other.map(|(_, _, running)| running);
                let state = before.as_ref().map(|running| running.state.clone()).unwrap_or_default();
                {
                    let report = &mut state.lock().report;
                    (report.receiver, report.kind) = (deadman::NAME.to_owned(), deadman::NAME);
                }
                let deadman = Deadman {
                    clock: Arc::clone(&self.clock),
                    target: target.clone(),
                    switch: self.receivers.open_deadman(target),
                    state: state.clone(),
                    board_age_max: age,
                };
                (target.clone(), age, self.start(state, before, |boards, stop| deadman.run(boards, stop)))
            }
        });
    }

    fn tell(&self, board: AlertBoard) {
        self.boards.send_replace(Some((self.clock.now(), Arc::new(board))));
    }

    fn report(&self) -> Vec<ReceiverReport> {
        let inner = self.lock();
        let receivers = inner.routes.iter().map(|route| merged(&route.places));
        let deadman = inner.deadman.as_ref().map(|(_, _, running)| running.state.lock().report.clone());
        receivers.chain(deadman).collect()
    }

    fn unsaved(&self) -> Option<String> {
        let inner = self.lock();
        let places = || inner.routes.iter().flat_map(|route| &route.places);
        let mut unsaved = false;
        for place in places() {
            unsaved |= std::mem::take(&mut place.state.lock().told.unsaved);
        }
        if !unsaved {
            return None;
        }
        let mut receivers = inner.saved.clone();
        for route in &inner.routes {
            for (index, place) in route.places.iter().enumerate() {
                let saved = place.state.lock().told.save(route.target.kind.as_str());
                receivers.insert(place_name(&route.target.name, index), saved);
            }
        }
        // Strings and numbers only: there is nothing that could fail.
        serde_json::to_string(&Saved { version: VERSION, receivers }).ok()
    }

    fn restore(&self, saved: &str) {
        let saved = match serde_json::from_str::<Saved>(saved) {
            Ok(saved) if saved.version == VERSION => saved.receivers,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot tell what receivers were sent before: firing alerts are sent again");
                return;
            }
        };
        let mut inner = self.lock();
        inner.saved = saved;
        let Inner { routes, saved, .. } = &mut *inner;
        let now = self.clock.now();
        for route in routes {
            for (index, place) in route.places.iter().enumerate() {
                let kind = route.target.kind.as_str();
                let known = saved.remove(&place_name(&route.target.name, index)).filter(|saved| saved.kind == kind);
                if let Some(known) = known {
                    place.state.lock().told.restore(known, now);
                }
            }
        }
    }
}

/// The report of a receiver that is several places: it fails while one of them does.
fn merged(places: &[Running]) -> ReceiverReport {
    let mut merged = ReceiverReport::default();
    for place in places {
        let state = place.state.lock();
        let State { told, report } = &*state;
        merged.receiver.clone_from(&report.receiver);
        merged.kind = report.kind;
        merged.notifications += report.notifications;
        for (kind, count) in &report.failures {
            match merged.failures.iter_mut().find(|(known, _)| known == kind) {
                Some((_, sum)) => *sum += count,
                None => merged.failures.push((kind, *count)),
            }
        }
        merged.last_success_at = merged.last_success_at.max(report.last_success_at);
        merged.failing_since = match (merged.failing_since, report.failing_since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        merged.reason = merged.reason.or_else(|| report.reason.clone());
        merged.waiting = merged.waiting.max(told.waiting);
    }
    merged
}

#[cfg(test)]
mod tests;
