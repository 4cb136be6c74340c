//! Work beside the agent's own task: a bounded number of works at each place, and a panic is the failure of that work alone.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::schedule::ReplicaKey;
use crate::domain::reason::{Reason, ReasonKind};

/// The works of one duty. `A` is what a work is about, `T` what it comes to.
pub(super) struct Crew<A, T> {
    tasks: JoinSet<(String, A, Result<T, Reason>)>,
    ended: VecDeque<(A, Result<T, Reason>)>,
    /// Where something is done or waits, so that a place that hangs only delays itself.
    places: HashMap<String, Place>,
    /// Places at which the next one that waits may find a seat, each once.
    ready: VecDeque<String>,
}

#[derive(Default)]
struct Place {
    busy: usize,
    waiting: VecDeque<ReplicaKey>,
    /// It is among those that are ready.
    is_ready: bool,
}

/// A crew, whatever it does.
#[async_trait]
pub(super) trait Work: Send {
    /// Ready once a work has ended that nobody took in.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Ends everything and returns when it has ended.
    async fn stop(&mut self);
}

impl<A, T> Default for Crew<A, T> {
    fn default() -> Self {
        let (ended, places, ready) = Default::default();
        Self { tasks: JoinSet::new(), ended, places, ready }
    }
}

impl<A: Send + 'static, T: Send + 'static> Crew<A, T> {
    /// Whether fewer than `most` works are in flight at a place.
    pub(super) fn has_seat(&self, place: &str, most: usize) -> bool {
        self.places.get(place).is_none_or(|place| place.busy < most)
    }

    /// Begins a work at a place; what it is `doing` is what the reason of a panic begins with.
    pub(super) fn begin(
        &mut self,
        doing: &'static str,
        place: String,
        about: A,
        work: impl Future<Output = T> + Send + 'static,
    ) {
        self.places.entry(place.clone()).or_default().busy += 1;
        // An async block would keep room for the work twice: as what it was given, and as what it waits for.
        self.tasks.spawn(AssertUnwindSafe(work).catch_unwind().map(move |result| {
            let result = result.map_err(|panic| {
                tracing::error!(panic = message(panic.as_ref()), "{doing}: panicked");
                Reason::new(ReasonKind::Failed, format!("{doing}: internal error"))
            });
            (place, about, result)
        }));
    }

    /// Has a replica wait for a seat at a place.
    pub(super) fn wait(&mut self, place: String, replica: ReplicaKey) {
        self.places.entry(place.clone()).or_default().waiting.push_back(replica);
        self.get_ready(place);
    }

    fn get_ready(&mut self, name: String) {
        let place = self.places.get_mut(&name).filter(|place| !place.is_ready && !place.waiting.is_empty());
        if let Some(place) = place {
            place.is_ready = true;
            self.ready.push_back(name);
        }
    }

    /// The next replica that waits at a place where fewer than `most` works are in flight, and that place; places in turn.
    pub(super) fn next(&mut self, most: usize) -> Option<(String, ReplicaKey)> {
        while let Some(name) = self.ready.pop_front() {
            let Some(place) = self.places.get_mut(&name) else { continue };
            place.is_ready = false;
            if place.busy < most
                && let Some(replica) = place.waiting.pop_front()
            {
                self.get_ready(name.clone());
                return Some((name, replica));
            }
            self.tidy(&name);
        }
        None
    }

    /// Forgets a place at which nothing is done and nothing waits.
    fn tidy(&mut self, name: &str) {
        if self.places.get(name).is_some_and(|place| place.busy == 0 && place.waiting.is_empty()) {
            self.places.remove(name);
        }
        if self.places.is_empty() {
            // There may have been thousands, and a map keeps room for as many.
            (self.places, self.ready) = Default::default();
        }
    }

    fn leave(&mut self, name: String) {
        let Some(place) = self.places.get_mut(&name) else { return };
        place.busy = place.busy.saturating_sub(1);
        match place.waiting.is_empty() {
            true => self.tidy(&name),
            false => self.get_ready(name),
        }
    }

    /// Forgets those that wait and are not `wanted` any more.
    pub(super) fn forget(&mut self, wanted: impl Fn(ReplicaKey) -> bool) {
        self.places.values_mut().for_each(|place| place.waiting.retain(|replica| wanted(*replica)));
    }

    /// A work that has ended: what it was about and what it came to.
    pub(super) fn take_ended(&mut self) -> Option<(A, Result<T, Reason>)> {
        let ended = self.ended.pop_front();
        if self.ended.is_empty() {
            self.ended = VecDeque::new();
        }
        ended
    }
}

#[async_trait]
impl<A: Send + 'static, T: Send + 'static> Work for Crew<A, T> {
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next(context) {
            // A panic was caught before it got here; what was stopped has nothing to say.
            let Ok((place, about, result)) = ended else { continue };
            self.leave(place);
            self.ended.push_back((about, result));
        }
        if self.ended.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(crew: &mut Crew<u32, u32>, most: usize) -> Vec<ReplicaKey> {
        let next = std::iter::from_fn(|| {
            let (place, replica) = crew.next(most)?;
            crew.begin("test", place, 0, std::future::pending());
            Some(replica)
        });
        next.collect()
    }

    #[tokio::test]
    async fn places_take_turns() {
        let mut crew = Crew::<u32, u32>::default();
        for (place, number) in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] {
            crew.wait(place.to_owned(), ReplicaKey(number));
        }
        let order: Vec<String> = std::iter::from_fn(|| crew.next(9)).map(|(place, _)| place).collect();
        assert_eq!(order, ["a", "b", "a", "b"]);
    }

    #[tokio::test]
    async fn places_wait_for_themselves_alone_and_a_panic_ends_one_work() {
        let mut crew = Crew::default();
        let key = ReplicaKey;
        for (place, number) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("a", 5)] {
            crew.wait(place.to_owned(), key(number));
        }
        assert_eq!(begin(&mut crew, 1), [key(1), key(3)]);
        assert_eq!((crew.has_seat("a", 1), crew.has_seat("c", 1)), (false, true));
        crew.forget(|replica| replica != key(2));
        crew.begin("test", "a".to_owned(), 7, async { panic!("told to panic") });
        crew.begin("test", "c".to_owned(), 8, async { 9 });
        let mut ended = Vec::new();
        while ended.len() < 2 {
            std::future::poll_fn(|context| crew.poll_ended(context)).await;
            ended.extend(std::iter::from_fn(|| crew.take_ended()));
        }
        ended.sort_by_key(|(about, _)| *about);
        let reason = Reason::new(ReasonKind::Failed, "test: internal error");
        assert_eq!(ended, [(7, Err(reason)), (8, Ok(9))]);
        // One is still in flight there; a higher limit lets the next one in.
        assert_eq!(begin(&mut crew, 1), []);
        crew.wait("a".to_owned(), key(6));
        assert_eq!(begin(&mut crew, 2), [key(4)]);
        crew.stop().await;
    }
}
