//! The connections that are open. There is always room for one more, whoever has come before: where a budget is used up,
//! the connection that has been silent for longest gives way.
//!
//! There are two budgets. A connection without a request in work costs a descriptor and can wait; a request in work costs
//! what its answer takes, until the client has read it. Of those, the ones of the address that has the most give way first,
//! so that nobody takes a seat from others by asking for many.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::active::{Active, State};
use super::listener::Peer;
use crate::domain::limits::{
    CONNECTIONS_MIN, CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_WAITING_MAX, REQUESTS_WORKING_MAX,
};
use crate::infrastructure::clock;

/// How long a request waits for room before one more connection gives way for it.
const CROWDED_PAUSE: Duration = Duration::from_millis(100);

/// How long it waits before even those that read give way.
const CROWDED_PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take until what a connection kept in memory is free after it was closed.
const CLOSED_PAUSE: Duration = Duration::from_millis(10);

/// How many connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Without a request in work.
    waiting: usize,
    /// Requests in work.
    working: usize,
}

impl Room {
    /// What there is in a process that may open `descriptors` files: a quarter of them, so that there are always some for
    /// databases, whoever connects.
    pub fn within(descriptors: Option<u64>) -> Self {
        let most = CONNECTIONS_WAITING_MAX + REQUESTS_WORKING_MAX;
        let quarter = descriptors.and_then(|all| usize::try_from(all / 4).ok()).unwrap_or(most);
        let all = quarter.clamp(2 * CONNECTIONS_MIN, most);
        let working = REQUESTS_WORKING_MAX.min(all / 2);
        Self { waiting: all - working, working }
    }
}

/// All connections with their tasks. To take a seat, or one away, takes no longer the more there are: a flood would keep
/// those waiting who come after it.
pub(super) struct Seats {
    waiting: usize,
    work: Arc<Semaphore>,
    turns: Arc<AtomicU64>,
    taken: Mutex<Taken>,
    arrived: Mutex<Arrived>,
}

/// Who came since all tasks last had a turn.
#[derive(Default)]
struct Arrived {
    peers: HashSet<Peer>,
    /// Those that gave way to them.
    left: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Seat>,
    of_peer: HashMap<Peer, Vec<u64>>,
    /// Those with a request in work.
    busy: HashSet<u64>,
    /// Those without a request in work, by the turn at which something last came or went: later ones are looked up when it
    /// is their turn to go, and so are those that have gone.
    silent: BinaryHeap<Reverse<(u64, u64)>>,
}

struct Seat {
    active: Arc<Active>,
    peer: Peer,
    /// `None` before it has begun.
    task: Option<JoinHandle<()>>,
}

impl Seats {
    pub(super) fn new(room: Room) -> Arc<Self> {
        let work = Arc::new(Semaphore::new(room.working));
        Arc::new(Self {
            waiting: room.waiting,
            work,
            turns: Arc::default(),
            taken: Mutex::default(),
            arrived: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `peer` a seat, which `serve` keeps for as long as it runs. Waits for nobody's client: only, now and then, until
    /// those that came have read what they were sent, and those that gave way have closed their descriptors. To wait for that
    /// each time would keep a crowd of many addresses waiting for as many turns of all tasks as there are of it.
    pub(super) async fn take<F>(self: &Arc<Self>, peer: Peer, serve: impl FnOnce(Arc<Active>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let closed = self.make_room(peer);
        let active = self.sit(peer);
        let (seat, serving) = (Leaving { seats: Arc::clone(self), id: active.id() }, serve(Arc::clone(&active)));
        let task = tokio::spawn(async move {
            serving.await;
            drop(seat);
        });
        if let Some(seat) = self.taken().seats.get_mut(&active.id()) {
            seat.task = Some(task);
        }
        let arrived = {
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.left.extend(closed);
            // None of them has given way yet, neither to the others nor to another one of its own address.
            if arrived.peers.insert(peer) && arrived.peers.len() < self.waiting / 2 {
                return;
            }
            std::mem::take(&mut *arrived)
        };
        ended(arrived.left).await;
        tokio::task::yield_now().await;
    }

    /// Whether so many are connected that nobody should stay without need.
    pub(super) fn are_crowded(&self) -> bool {
        self.taken().seats.len() > self.waiting / 2
    }

    fn sit(&self, peer: Peer) -> Arc<Active> {
        let mut taken = self.taken();
        taken.next += 1;
        let id = taken.next;
        let active = Arc::new(Active::new(id, Arc::clone(&self.turns)));
        taken.seats.insert(id, Seat { active: Arc::clone(&active), peer, task: None });
        taken.of_peer.entry(peer).or_default().push(id);
        taken.wait(&active);
        active
    }

    fn make_room(&self, peer: Peer) -> Option<JoinHandle<()>> {
        let mut taken = self.taken();
        let own = taken.of_peer.get(&peer).into_iter().flatten().filter_map(|id| taken.seats.get(id));
        let own: Vec<&Active> = own.map(|seat| &*seat.active).filter(|active| active.is_waiting()).collect();
        if own.len() >= CONNECTIONS_PER_ADDRESS_MAX {
            let id = own.into_iter().min_by_key(|active| active.last())?.id();
            return taken.close(id);
        }
        let waiting = taken.seats.len() - taken.busy.len();
        if waiting >= self.waiting { taken.close_silent() } else { None }
    }

    /// Ends the connection that was silent for longest, one with a request in work only when there is no other.
    pub(super) async fn close_one(&self) {
        let closed = {
            let mut taken = self.taken();
            taken.close_silent().or_else(|| taken.close_busy(&State::ALL))
        };
        ended(closed).await;
    }

    /// Ends all that ask for nothing.
    pub(super) fn close_waiting(&self) {
        while self.taken().close_silent().is_some() {}
    }

    /// Ends all.
    pub(super) fn close_all(&self) {
        self.taken().seats.values().filter_map(|seat| seat.task.as_ref()).for_each(JoinHandle::abort);
    }

    /// Ends connections whose clients have not taken their answers yet, for as long as more is kept for them in memory than
    /// `is_over` has it.
    pub(super) async fn relieve(&self, is_over: impl Fn() -> bool) {
        while is_over() {
            let closed = self.taken().close_busy(&[State::Behind, State::Reading]);
            let Some(closed) = closed else { return };
            ended([closed]).await;
            // The streams of HTTP/2 are tasks of their own, which end just after.
            sleep(CLOSED_PAUSE).await;
        }
    }

    /// Begins to work on a request. Who comes when the budget is used up waits for no client that does not read: one of
    /// them gives way, and again one as long as nothing came of that, since others are waiting as well. Where there is none,
    /// one that waits for its answer gives way, and no more than one; those that read only when there is nothing else, or
    /// nothing comes of it for long.
    pub(super) async fn work(self: &Arc<Self>, active: &Arc<Active>) -> Work {
        let permit = match Arc::clone(&self.work).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let asked = clock::timer();
                drop(self.taken().close_busy(&State::ALL));
                let mut permit = std::pin::pin!(Arc::clone(&self.work).acquire_owned());
                loop {
                    // Nobody closes it.
                    if let Ok(permit) = tokio::time::timeout(CROWDED_PAUSE, permit.as_mut()).await {
                        break permit.ok();
                    }
                    let is_patient = clock::timer().duration_since(asked) < CROWDED_PATIENCE;
                    let give_way: &[_] = if is_patient { &[State::Behind] } else { &[State::Behind, State::Reading] };
                    drop(self.taken().close_busy(give_way));
                }
            }
        };
        {
            // The requests of one connection begin and end on several threads: count and set change together.
            let mut taken = self.taken();
            if active.begin() {
                taken.begin(active.id());
            }
        }
        let (id, made) = (self.turns.fetch_add(1, Ordering::Relaxed), AtomicBool::default());
        Work { id, seats: Arc::clone(self), active: Arc::clone(active), made, _permit: permit }
    }
}

impl Taken {
    /// Notes one that has a request in work, unless it was closed meanwhile.
    fn begin(&mut self, id: u64) {
        if self.seats.contains_key(&id) {
            self.busy.insert(id);
        }
    }

    /// Notes one that has no request in work any more, or not yet.
    fn wait(&mut self, active: &Active) {
        self.busy.remove(&active.id());
        if !self.seats.contains_key(&active.id()) {
            return;
        }
        if self.silent.len() > 2 * self.seats.len() + CONNECTIONS_PER_ADDRESS_MAX {
            let seats = self.seats.values().map(|seat| &seat.active);
            self.silent = seats.map(|active| Reverse((active.last(), active.id()))).collect();
        }
        self.silent.push(Reverse((active.last(), active.id())));
    }

    /// Ends the one that was silent for longest, of those without a request in work.
    fn close_silent(&mut self) -> Option<JoinHandle<()>> {
        while let Some(Reverse((turn, id))) = self.silent.pop() {
            // One that has gone, or comes back when its request is done.
            let Some(seat) = self.seats.get(&id) else { continue };
            if !seat.active.is_waiting() || seat.task.is_none() {
                continue;
            }
            match seat.active.last() {
                last if last == turn => return self.close(id),
                later => self.silent.push(Reverse((later, id))),
            }
        }
        None
    }

    /// Ends one of those with a request in work that are in one of these states: of the peer that has the most in work, one in
    /// the first of them, the longest silent one.
    fn close_busy(&mut self, states: &[State]) -> Option<JoinHandle<()>> {
        let (now, mut in_work) = (clock::timer(), HashMap::<Peer, usize>::new());
        let busy = self.busy.iter().filter_map(|id| self.seats.get(id)).filter(|seat| seat.task.is_some());
        for seat in busy.clone() {
            *in_work.entry(seat.peer).or_default() += seat.active.working();
        }
        let rank = |seat: &Seat| {
            let state = seat.active.state(now);
            let state = states.iter().position(|one| *one == state)?;
            Some((Reverse(*in_work.get(&seat.peer)?), state, seat.active.last(), seat.active.id()))
        };
        let (.., id) = busy.filter_map(rank).min()?;
        self.close(id)
    }

    fn close(&mut self, id: u64) -> Option<JoinHandle<()>> {
        let task = self.leave(id)?.task?;
        task.abort();
        Some(task)
    }

    fn leave(&mut self, id: u64) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        self.busy.remove(&id);
        if let Some(own) = self.of_peer.get_mut(&seat.peer) {
            own.retain(|other| *other != id);
            if own.is_empty() {
                self.of_peer.remove(&seat.peer);
            }
        }
        Some(seat)
    }
}

/// Gives the seat back when the connection ends, however it does.
struct Leaving {
    seats: Arc<Seats>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        drop(self.seats.taken().leave(self.id));
    }
}

/// Waits until tasks that were told to end have ended: their descriptors are free afterwards.
async fn ended(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        let _ = task.await;
    }
}

/// A request in work, until the last byte of its answer has left.
pub(super) struct Work {
    id: u64,
    seats: Arc<Seats>,
    active: Arc<Active>,
    made: AtomicBool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Work {
    /// The answer is made, and now it is the client's turn.
    pub(super) fn made(&self) {
        if !self.made.swap(true, Ordering::Relaxed) {
            self.active.made(self.id);
        }
    }

    /// The client has taken so many bytes of the answer.
    pub(super) fn moved(&self, bytes: usize) {
        self.active.moved(self.id, bytes);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.active.gone(self.id);
        let mut taken = self.seats.taken();
        if self.active.end() {
            taken.wait(&self.active);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::domain::limits::READ_PAUSE_MAX;

    #[test]
    fn connections_leave_descriptors_for_databases() {
        for (descriptors, expected) in [
            (None, (4096, 256)),
            (Some(1 << 20), (4096, 256)),
            (Some(1024), (128, 128)),
            (Some(256), (32, 32)),
            (Some(96), (12, 12)),
            (Some(16), (8, 8)),
        ] {
            let Room { waiting, working } = Room::within(descriptors);
            assert_eq!((waiting, working), expected, "{descriptors:?}");
        }
    }

    const ONE: Peer = Peer::Network(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
    const OTHER: Peer = Peer::Network(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));

    async fn sit(seats: &Arc<Seats>, peer: Peer) -> Arc<Active> {
        let mut taken = None;
        seats
            .take(peer, |active| {
                taken = Some(active);
                std::future::pending()
            })
            .await;
        taken.expect("a seat")
    }

    fn sits(seats: &Seats, active: &Active) -> bool {
        seats.taken().seats.contains_key(&active.id())
    }

    #[tokio::test]
    async fn the_longest_silent_one_gives_way_and_one_that_is_answered_last() {
        let seats = Seats::new(Room { waiting: 2, working: 1 });
        let (answered, silent) = (sit(&seats, ONE).await, sit(&seats, ONE).await);
        let work = seats.work(&answered).await;
        let chatty = sit(&seats, ONE).await;
        silent.touch();
        chatty.touch();
        let newest = sit(&seats, OTHER).await;
        assert_eq!([&answered, &silent, &chatty].map(|active| sits(&seats, active)), [true, false, true]);
        work.made();
        let waits = async {
            tokio::task::yield_now().await;
            assert!(!sits(&seats, &answered), "who does not read gives way to who asks");
            drop(work);
        };
        let (next, ()) = tokio::join!(seats.work(&chatty), waits);
        assert!(!chatty.is_waiting() && answered.is_waiting());
        seats.close_one().await;
        assert_eq!([&chatty, &newest].map(|active| sits(&seats, active)), [true, false]);
        drop(next);
        assert!(chatty.is_waiting());
        seats.close_waiting();
        assert!(seats.taken().seats.is_empty() && seats.taken().of_peer.is_empty());
        assert!(seats.taken().busy.is_empty());
    }

    #[tokio::test]
    async fn one_address_takes_no_seat_of_another() {
        let seats = Seats::new(Room::within(None));
        let (stranger, first) = (sit(&seats, OTHER).await, sit(&seats, ONE).await);
        for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
            sit(&seats, ONE).await;
        }
        assert!(sits(&seats, &stranger) && !sits(&seats, &first));
        assert_eq!(seats.taken().seats.len(), 1 + CONNECTIONS_PER_ADDRESS_MAX);
    }

    /// Many come at once, when those that could give way have been told to already.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_those_who_were_served_just_before_and_do_not_read() {
        let seats = Seats::new(Room { waiting: 100, working: 2 });
        for _ in 0..50 {
            let held = Arc::clone(&seats);
            seats
                .take(OTHER, move |active| async move {
                    let work = held.work(&active).await;
                    work.made();
                    std::future::pending::<()>().await;
                })
                .await;
        }
        let last = sit(&seats, ONE).await;
        let begun = tokio::time::Instant::now();
        drop(seats.work(&last).await);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(sits(&seats, &last));
    }

    fn peer([high, low]: [u8; 2]) -> Peer {
        Peer::Network(IpAddr::V4([10, 1, high, low].into()))
    }

    /// Waits for an answer, as one whose password has not been compared yet.
    async fn ask(seats: &Arc<Seats>, peer: Peer) -> (Arc<Active>, Work) {
        let active = sit(seats, peer).await;
        let work = seats.work(&active).await;
        (active, work)
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_on_is_kept_while_others_come_and_wait_for_their_answers() {
        let seats = Seats::new(Room::within(None));
        let (reader, answer) = ask(&seats, ONE).await;
        answer.made();
        let slow = ask(&seats, OTHER).await;
        slow.1.made();
        let mut others = vec![slow];
        for number in 0..REQUESTS_WORKING_MAX - 2 {
            others.push(ask(&seats, peer([1, number as u8])).await);
        }
        for round in 0..10 {
            for _ in 0..10 {
                answer.moved(1 << 20);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let held = Arc::clone(&seats);
            let newcomer = tokio::spawn(async move { ask(&held, peer([2, round])).await });
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(sits(&seats, &reader), "{round}: who reads was closed");
            assert_eq!(others.iter().filter(|(active, _)| !sits(&seats, active)).count(), 1, "{round}");
            assert!(!sits(&seats, &others[0].0) || round > 0, "the one that reads nothing is the first");
            others.retain(|(active, _)| sits(&seats, active));
            others.push(newcomer.await.expect("joined"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_asks_for_much_takes_no_seat_from_another() {
        let seats = Seats::new(Room { waiting: 64, working: 8 });
        let (other, answer) = ask(&seats, OTHER).await;
        answer.made();
        let mut greedy = Vec::new();
        for _ in 0..7 {
            greedy.push(ask(&seats, ONE).await);
        }
        // Slow, and on its own: whoever is of the other address gives way before it.
        tokio::time::sleep(2 * READ_PAUSE_MAX).await;
        for _ in 0..20 {
            let held = Arc::clone(&seats);
            let newcomer = tokio::spawn(async move { ask(&held, ONE).await });
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(sits(&seats, &other));
            greedy.retain(|(active, _)| sits(&seats, active));
            assert_eq!(greedy.len(), 6);
            greedy.push(newcomer.await.expect("joined"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_freed_by_the_address_that_has_most() {
        let seats = Seats::new(Room::within(None));
        let mut all = Vec::new();
        for (peer, made) in [(OTHER, true), (ONE, true), (ONE, false), (ONE, true), (ONE, true)] {
            let (active, work) = ask(&seats, peer).await;
            if made {
                work.made();
            }
            all.push((active, work));
        }
        seats.relieve(|| seats.taken().seats.len() > 3).await;
        let sitting = || all.iter().map(|(active, _)| sits(&seats, active)).collect::<Vec<_>>();
        assert_eq!(sitting(), [true, false, true, false, true]);
        seats.relieve(|| true).await;
        assert_eq!(sitting(), [false, false, true, false, false], "who waits for an answer keeps nothing");
    }

    #[tokio::test]
    async fn what_is_remembered_of_those_that_have_gone_is_bounded() {
        let seats = Seats::new(Room { waiting: 8, working: 8 });
        let kept = sit(&seats, OTHER).await;
        for _ in 0..1_000 {
            seats.take(ONE, |_| std::future::ready(())).await;
            drop(seats.work(&kept).await);
            tokio::task::yield_now().await;
        }
        let taken = seats.taken();
        assert!(taken.silent.len() < 200 && taken.seats.len() < 10, "{} {}", taken.silent.len(), taken.seats.len());
        assert!(taken.seats.contains_key(&kept.id()), "it asked again and again");
    }
}
