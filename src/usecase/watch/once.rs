//! One look at everything, for a command that ends: the same state as the agent's, without its clockwork.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::objects::{Look, SeenObjects};
use super::replica::WatchedReplica;
use super::schedule::ReplicaKey;
use super::spotting::Spotting;
use super::subject::Subject;
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::limits::{
    SPOT_ONCE_ROUNDS, SPOT_TIMEOUT, TORN_POLLS_MAX, VERIFY_ONCE_REQUESTS_MAX, VERIFY_REQUESTS_MAX, VERIFY_TIMEOUT,
};
use crate::domain::moment::Moment;
use crate::domain::naming::known_databases;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{Target, TargetName};
use crate::domain::verification::{Outcome, VerifyDepth};
use crate::usecase::ports::{Clock, DatabaseWatch, Pace, PageReader, Stores};
use crate::usecase::spot::spot;
use crate::usecase::verify::verify;

/// How often a replica that is behind is looked at again while there is time.
const AGAIN: Duration = Duration::from_secs(1);

/// How soon a database is looked at again that was being written.
const TORN: Duration = Duration::from_millis(50);

/// How soon pages are compared again that could not be, because they were being written or moved.
const RACED: Duration = Duration::from_millis(200);

/// The ports and settings of a single look.
pub struct OnceParts<'a> {
    pub clock: &'a dyn Clock,
    pub watch: &'a mut dyn DatabaseWatch,
    pub stores: &'a dyn Stores,
    pub pace: &'a Pace,
}

/// Looks at every target once. Replicas that are behind what was seen get `wait` to catch up with it: what was
/// committed in the meantime is not asked of them.
pub async fn look_once(parts: OnceParts<'_>, targets: Vec<Target>, wait: Duration) -> Vec<Arc<DatabaseReport>> {
    let OnceParts { clock, watch, stores, pace } = parts;
    let now = clock.now();
    let databases = targets.iter().filter_map(|target| Some((target.name.clone(), target.database.clone()?)));
    watch.set_targets(databases.collect());
    let subject = |target| Subject::new(target, stores, ReplicaKey::default, None, pace, now);
    let mut subjects: Vec<Subject> = targets.into_iter().map(subject).collect();
    let mut unseen: BTreeMap<TargetName, &mut Subject> =
        subjects.iter_mut().map(|subject| (subject.target.name.clone(), subject)).collect();
    let mut updates = watch.sweep(now, unseen.len());
    for _ in 0..=TORN_POLLS_MAX {
        for update in updates {
            if let Some(subject) = unseen.remove(&update.target) {
                subject.observe(update);
            }
        }
        unseen.retain(|_, subject| subject.target.database.is_some());
        if unseen.is_empty() {
            break;
        }
        // What is being written at this very moment is not in a moment; what is no database stays unreadable.
        tokio::time::sleep(TORN).await;
        updates = unseen.keys().filter_map(|name| watch.look(name, clock.now())).collect();
    }

    // What is said once is said of what was listed.
    let pace = &Pace { listing: Duration::ZERO, ..pace.clone() };
    let deadline = clock.now().after(wait).mono();
    look_at(&mut subjects, clock, now, pace, |_| true).await;
    find_beacons(&mut subjects, clock, stores, pace).await;
    while subjects.iter().any(|subject| subject.replicas.iter().any(behind)) && clock.now().mono() < deadline {
        tokio::time::sleep(AGAIN.min(wait)).await;
        look_at(&mut subjects, clock, now, pace, behind).await;
    }
    verify_all(&mut subjects, clock, pace, VERIFY_ONCE_REQUESTS_MAX).await;
    if let Some(reader) = watch.pages().filter(|_| pace.verify.spot.interval.is_some()) {
        compare_all(&mut subjects, &reader, clock, now, pace).await;
        // What came meanwhile.
        verify_all(&mut subjects, clock, pace, VERIFY_REQUESTS_MAX).await;
    }
    for replica in subjects.iter_mut().flat_map(|subject| &mut subject.replicas) {
        replica.ledger.end();
        replica.take_verified(Vec::new(), clock.now());
    }
    let now = clock.now();
    subjects.iter_mut().for_each(|subject| subject.rebuild(pace, now));
    let mut databases: Vec<_> = subjects.into_iter().map(|subject| subject.report).collect();
    databases.iter_mut().for_each(without_lag);
    databases
}

/// Since when a replica is empty, one look does not know: the age of its own look would be no lag.
fn without_lag(database: &mut Arc<DatabaseReport>) {
    if !database.replicas.iter().any(ReplicaReport::is_empty) {
        return;
    }
    let replicas = Arc::make_mut(database).replicas.iter_mut();
    for replica in replicas.filter(|replica| replica.is_empty()) {
        (replica.lag_seconds, replica.lag_upper_bound_seconds, replica.unreplicated_since) = (None, None, None);
    }
}

/// It was read and is not as far as the database was.
fn behind(replica: &WatchedReplica) -> bool {
    replica.pending() && replica.standing().failures == 0
}

async fn look_at(
    subjects: &mut [Subject],
    clock: &dyn Clock,
    sampled: Moment,
    pace: &Pace,
    which: fn(&WatchedReplica) -> bool,
) {
    let mut looks = Vec::new();
    for subject in subjects {
        let staged = subject.staged().cloned();
        for replica in subject.replicas.iter_mut().filter(|replica| which(replica)) {
            let Some(mut probe) = replica.take_probe(clock.now()) else { continue };
            let staged = staged.clone();
            looks.push((place(replica), async move {
                let result = match replica.store.clone() {
                    Ok(store) => probe.look(store.as_ref(), staged.as_ref(), sampled, pace).await,
                    Err(reason) => Err(*reason),
                };
                let objects = SeenObjects::of(&mut probe, replica.ledger.is_on());
                replica.conclude(Look { probe, result, objects, beacon: None }, clock.now());
            }));
        }
    }
    all(looks.into_iter(), pace).await;
}

/// Where work on a replica is in flight.
fn place(replica: &WatchedReplica) -> String {
    replica.target.location.queue()
}

/// Does all of it, each at a place: no more at once than may be in flight there, so that none waits for another place.
async fn all(works: impl Iterator<Item = (String, impl Future<Output = ()>)>, pace: &Pace) {
    let mut places: HashMap<String, Arc<Semaphore>> = HashMap::new();
    let seated = works.map(|(place, work)| {
        let seats = Arc::clone(places.entry(place).or_insert_with(|| Semaphore::new(pace.concurrency.max(1)).into()));
        async move {
            let _seat = seats.acquire().await;
            work.await;
        }
    });
    seated.collect::<FuturesUnordered<_>>().collect().await
}

/// Reads the beacons of databases that are on other hosts.
async fn find_beacons(subjects: &mut [Subject], clock: &dyn Clock, stores: &dyn Stores, pace: &Pace) {
    let remote = subjects.iter_mut().filter(|subject| subject.target.database.is_none());
    let replicas = remote.flat_map(|subject| &mut subject.replicas).filter(|replica| replica.unreadable().is_none());
    let find = async |replica: &mut WatchedReplica| {
        let found = match stores.beacon(&replica.target.location) {
            Ok(store) => store.find().await,
            Err(reason) => Err(reason),
        };
        replica.take_beacon(Some(found), clock.now());
    };
    all(replicas.map(|replica| (place(replica), find(replica))), pace).await;
}

/// Reads what restores need of the replicas: with so many requests for the structure of each, or everything when asked for.
async fn verify_all(subjects: &mut [Subject], clock: &dyn Clock, pace: &Pace, requests: u64) {
    let deep = pace.verify.depth == VerifyDepth::Content;
    let read = async |replica: &mut WatchedReplica| {
        let Ok(store) = replica.store.clone() else { return };
        let mut left = requests;
        while left > 0 {
            let jobs = replica.ledger.jobs(VERIFY_REQUESTS_MAX.min(left), clock.now().wall());
            if jobs.is_empty() {
                break;
            }
            let results = verify(Arc::clone(&store), jobs, VERIFY_TIMEOUT).await;
            let failed = results.iter().any(|result| result.outcome == Outcome::Failed);
            let requests: u64 = results.iter().map(|result| result.requests).sum();
            replica.take_verified(results, clock.now());
            if failed {
                break;
            }
            if !deep {
                left = left.saturating_sub(requests.max(1));
            }
        }
    };
    let replicas = subjects.iter_mut().flat_map(|subject| &mut subject.replicas);
    all(replicas.map(|replica| (place(replica), read(replica))), pace).await;
}

/// Compares pages with the live databases. What raced a commit or differs is looked at anew, a few times.
async fn compare_all(
    subjects: &mut [Subject],
    reader: &Arc<dyn PageReader>,
    clock: &dyn Clock,
    sampled: Moment,
    pace: &Pace,
) {
    let watched = subjects.iter_mut().filter(|subject| subject.target.database.is_some());
    watched.flat_map(|subject| &mut subject.replicas).for_each(|replica| replica.spotting.able = true);
    for round in 0..SPOT_ONCE_ROUNDS {
        if round > 0 {
            tokio::time::sleep(RACED).await;
            look_at(subjects, clock, sampled, pace, wanting).await;
        }
        let mut rounds = Vec::new();
        for subject in subjects.iter_mut() {
            let Some(files) = &subject.target.database else { continue };
            for replica in subject.replicas.iter_mut().filter(|replica| round == 0 || wanting(replica)) {
                replica.spotting.due = Some(clock.now());
                let Some(job) = replica.spot_job(reader, files, &pace.verify.spot, clock.now()) else { continue };
                rounds.push((place(replica), async move {
                    let done = spot(job, SPOT_TIMEOUT).await;
                    replica.take_round(done, &pace.verify.spot, clock.now());
                }));
            }
        }
        all(rounds.into_iter(), pace).await;
        if !subjects.iter().any(|subject| subject.replicas.iter().any(wanting)) {
            break;
        }
    }
}

/// Nothing was compared yet, or what differed has to be seen again.
fn wanting(replica: &WatchedReplica) -> bool {
    let Spotting { book, able, .. } = &replica.spotting;
    *able && (book.is_suspicious() || !book.has_compared())
}

/// The targets that a person named, by name or path; all when nothing was named.
///
/// # Errors
///
/// The first name that nothing goes by.
pub fn named(targets: Vec<Target>, names: &[String]) -> Result<Vec<Target>, Reason> {
    let goes_by = |target: &Target, name: &str| {
        let path = target.database.as_ref().is_some_and(|files| files.path.as_os_str() == name);
        path || *target.name == *name
    };
    if let Some(name) = names.iter().find(|name| !targets.iter().any(|target| goes_by(target, name))) {
        let reason = Reason::new(ReasonKind::NotFound, format!("{name}: no such database"));
        return Err(reason.with_hint(known_databases(name, targets.iter().map(|target| target.name.as_str()))));
    }
    let wanted = |target: &Target| names.is_empty() || names.iter().any(|name| goes_by(target, name));
    Ok(targets.into_iter().filter(wanted).collect())
}
