//! What is below the places of `[[observe]]`: listed when it is time to, and remembered in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::runtime::block_on;
use crate::domain::limits::{OBSERVE_AGAIN, OBSERVE_TIMEOUT};
use crate::domain::naming::Names;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::infrastructure::config::{Observe, Observed};
use crate::usecase::observe::{Scope, replicas};
use crate::usecase::ports::{AskedBy, Shelves};

/// Lists places below which replicas are.
#[derive(Default)]
pub struct Observer {
    /// An agent lists them beside everything else, and does not wait for them when it starts.
    waits: bool,
    /// The agent's own way to stores, once it has one.
    agent: OnceLock<(Arc<dyn Shelves>, Handle)>,
    seen: Mutex<BTreeMap<String, Arc<Seen>>>,
}

/// What was below a place when that was last listed.
#[derive(Clone)]
struct Seen {
    /// When listing it began and when it ended. `None`: nobody has asked for it yet.
    at: Option<(Instant, Instant)>,
    listed: BTreeSet<String>,
    /// These, and those that were there before.
    kept: BTreeSet<String>,
    error: Option<String>,
}

impl Seen {
    /// Whether it is listed again. Whoever reaches the endpoint may not run up a bill with listings.
    fn is_due(&self, interval: Duration, asked: AskedBy) -> bool {
        let wait = match asked {
            AskedBy::Nobody if self.error.is_none() => interval,
            AskedBy::Nobody | AskedBy::Stranger => interval.min(OBSERVE_AGAIN),
            AskedBy::Owner => Duration::ZERO,
        };
        self.at.is_none_or(|(_, ended)| clock::timer().duration_since(ended) >= wait)
    }
}

impl Observer {
    /// One of an agent that is about to start.
    pub fn of_agent() -> Self {
        Self { waits: true, ..Self::default() }
    }

    /// From now on, places are listed on the threads of an agent, and counted with its other requests.
    pub fn begin(&self, stores: Arc<dyn Shelves>, threads: Handle) {
        // A second agent of one process would have sources of its own.
        let _ = self.agent.set((stores, threads));
    }

    /// What is known of a place, which is listed if that is due or its owner `asked` for it. A replica that is no longer
    /// listed stays watched: that it is gone is what has to be told. The owner gets what is there, and makes that last with
    /// [`Observer::forget_gone`]. `open` is the way to stores of those that are no agent.
    pub fn look<S: Shelves + 'static>(
        &self,
        observe: &Observe,
        names: &Names,
        asked: AskedBy,
        open: impl FnOnce() -> Arc<S>,
    ) -> Observed {
        let key = observe.replica.location.identity();
        let before = self.lock().get(&key).cloned();
        let after = match before {
            Some(before) if !before.is_due(observe.interval, asked) => before,
            before => {
                let remembered =
                    || names.paths().filter_map(|path| observe.relative(path)).map(str::to_owned).collect();
                // A listing takes its time, in which other places are looked at, and this one too when nobody waits any more.
                let listed = self.list(observe, before.map_or_else(remembered, |seen| seen.kept.clone()), open);
                self.newest(key, Arc::new(listed))
            }
        };
        let mine = |paths: &BTreeSet<String>| -> BTreeSet<String> {
            paths.iter().filter(|path| observe.wants(path)).cloned().collect()
        };
        let (kept, error) = (mine(&after.kept), after.error.clone());
        let owner = asked == AskedBy::Owner;
        let gone = if owner || error.is_some() { 0 } else { kept.difference(&after.listed).count() };
        let replicas = if owner && error.is_none() { mine(&after.listed) } else { kept };
        Observed { replicas, gone, error }
    }

    /// What is no longer listed is not watched any more.
    pub fn forget_gone(&self) {
        for seen in self.lock().values_mut().filter(|seen| seen.error.is_none()) {
            let seen = Arc::make_mut(seen);
            seen.kept.clone_from(&seen.listed);
        }
    }

    /// Takes in a listing, unless one that began later has ended before it; gives the one that holds.
    fn newest(&self, key: String, listed: Arc<Seen>) -> Arc<Seen> {
        let mut all = self.lock();
        let known = all.entry(key).or_insert_with(|| Arc::clone(&listed));
        if listed.at >= known.at {
            *known = listed;
        }
        Arc::clone(known)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Seen>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list<S: Shelves + 'static>(
        &self,
        observe: &Observe,
        known: BTreeSet<String>,
        open: impl FnOnce() -> Arc<S>,
    ) -> Seen {
        let began = clock::timer();
        let (listed, error) = match self.agent.get() {
            Some((stores, threads)) => threads.block_on(find(stores.as_ref(), observe, &known)),
            None if self.waits => {
                return Seen {
                    at: None,
                    listed: BTreeSet::new(),
                    kept: known,
                    error: Some("not listed yet".to_owned()),
                };
            }
            None => {
                let stores = open();
                block_on(async { find(stores.as_ref(), observe, &known).await })
                    .unwrap_or_else(|reason| (BTreeSet::new(), Some(reason.to_string())))
            }
        };
        let kept = known.union(&listed).cloned().collect();
        Seen { at: Some((began, clock::timer())), listed, kept, error }
    }
}

/// What is below a place, and why that is not all.
async fn find(stores: &dyn Shelves, observe: &Observe, known: &BTreeSet<String>) -> (BTreeSet<String>, Option<String>) {
    let mut found = BTreeSet::new();
    let wanted = |path: &str| observe.wants(path);
    let scope = Scope { depth: observe.depth, known, wanted: &wanted };
    let result = match stores.shelf(&observe.replica.location) {
        Ok(shelf) => tokio::time::timeout(OBSERVE_TIMEOUT, replicas(shelf.as_ref(), scope, &mut found))
            .await
            .unwrap_or_else(|_| {
                let seconds = OBSERVE_TIMEOUT.as_secs();
                Err(Reason::new(ReasonKind::Timeout, format!("not all of it was listed within {seconds} s")))
            }),
        Err(reason) => Err(reason),
    };
    let error = result.err().map(|reason| match &reason.hint {
        Some(hint) => format!("{reason}; {hint}"),
        None => reason.to_string(),
    });
    (found, error)
}
