//! The agent's state of one target.

mod report;

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::replica::{Watched, WatchedReplica};
use super::saved::{Saved, ToSave, find, identified, identity, path, text};
use super::schedule::ReplicaKey;
use super::trends::Trends;
use crate::domain::assess::positions::Positions;
use crate::domain::assess::rates::{RateWindow, Rates};
use crate::domain::assessment::{DatabaseReport, DatabaseState};
use crate::domain::limits::FIRST_LOOK_PATIENCE;
use crate::domain::litestream::Txid;
use crate::domain::moment::{Moment, signed};
use crate::domain::observation::{DatabaseLook, DatabasePosture, StagedPosition};
use crate::domain::reason::Reason;
use crate::domain::target::Target;
use crate::usecase::ports::{LocalUpdate, Pace, Stores};

/// How often what is known of the objects is saved while it changes. Of what came since, a restart reads again what it
/// needs.
const OBJECTS_SAVE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct Subject {
    pub(super) target: Target,
    look: Option<DatabaseLook>,
    posture: Option<DatabasePosture>,
    polled: bool,
    failure: Option<Box<Reason>>,
    rates: RateWindow,
    trends: Trends,
    pub(super) replicas: Vec<WatchedReplica>,
    /// It is gone from the configuration, since then.
    pub(super) gone_since: Option<Moment>,
    /// When it began to be watched by this run.
    began: Moment,
    pub(super) to_save: ToSave,
    /// It was looked at since its report was built.
    looked: bool,
    /// When what is known of the objects was last compared with what was saved, and what it was.
    pub(super) objects_saved: Option<(Moment, u64)>,
    pub(super) report: Arc<DatabaseReport>,
}

impl Subject {
    /// A subject that begins; each of its replicas asks for a `key`.
    pub(super) fn new(
        target: Target,
        stores: &dyn Stores,
        key: impl FnMut() -> ReplicaKey,
        saved: Option<&str>,
        pace: &Pace,
        now: Moment,
    ) -> Self {
        // A text of another version is not worth a word: history is comfort.
        let saved: Option<Saved> = saved.and_then(|text| serde_json::from_str(text).ok());
        let saved = saved.filter(|saved| saved.database == path(&target)).unwrap_or_default();
        let keys = std::iter::repeat_with(key);
        let replicas = target.replicas.iter().zip(keys).map(|(replica, key)| {
            let identity = identity(replica);
            let mut replica = WatchedReplica::new(Arc::clone(replica), target.objectives.restorer, stores, pace, key);
            replica.watched = find(&saved.watched, &identity)
                .copied()
                .unwrap_or_else(|| Watched { since: now.wall(), ..Watched::default() });
            if let Some(positions) = find(&saved.replicas, &identity) {
                replica.positions = Positions::restore(positions, now);
            }
            if let Some(history) = find(&saved.drills, &identity) {
                *replica.drilling.history_mut() = history.clone();
            }
            replica.spotting.book = find(&saved.spots, &identity).cloned().unwrap_or_default();
            replica
        });
        let replicas = replicas.collect();
        let mut subject = Self {
            target,
            look: None,
            posture: None,
            polled: false,
            failure: None,
            rates: saved.rates,
            trends: saved.trends,
            replicas,
            gone_since: None,
            began: now,
            to_save: ToSave::Nothing,
            looked: false,
            objects_saved: None,
            report: Arc::default(),
        };
        subject.rebuild(pace, now);
        subject
    }

    pub(super) fn save(&self) -> String {
        let drilled = self.replicas.iter().filter(|replica| replica.drilling.history.first_seen_at.is_some());
        let saved = Saved {
            database: path(&self.target),
            rates: self.rates.clone(),
            trends: self.trends.clone(),
            replicas: identified(&self.replicas, |replica| replica.positions.save()),
            drills: identified(drilled, |replica| (*replica.drilling.history).clone()),
            spots: identified(&self.replicas, |replica| replica.spotting.book.clone()),
            watched: identified(&self.replicas, |replica| replica.watched),
        };
        text(&saved)
    }

    /// The state of the objects, by [`identity`], to be saved. It is much more than the rest, and changes only with the
    /// bucket.
    pub(super) fn save_objects(&self) -> String {
        let verified = self.replicas.iter().filter(|replica| replica.ledger.is_on());
        text(&identified(verified, |replica| replica.ledger.save()))
    }

    /// The same if it changed since it was last saved and that is long enough ago, or this is the `last` time.
    pub(super) fn unsaved_objects(&mut self, now: Moment, last: bool) -> Option<String> {
        if !self.replicas.iter().any(|replica| replica.ledger.is_on()) {
            return None;
        }
        let recent = |(at, _)| now.since(at) < OBJECTS_SAVE_INTERVAL;
        if self.objects_saved.is_some_and(recent) && !last {
            return None;
        }
        let state = self.objects_state();
        let before = self.objects_saved.replace((now, state));
        before.is_none_or(|(_, saved)| saved != state).then(|| self.save_objects())
    }

    /// Takes over what [`save_objects`](Self::save_objects) gave.
    pub(super) fn restore_objects(&mut self, saved: &str, now: Moment) {
        let texts: Vec<(String, String)> = serde_json::from_str(saved).unwrap_or_default();
        for replica in &mut self.replicas {
            if let Some(text) = find(&texts, &identity(&replica.target)) {
                replica.restore_ledger(text);
            }
        }
        self.objects_saved = Some((now, self.objects_state()));
    }

    /// Nothing of it is saved under this name.
    pub(super) fn not_saved(&mut self) {
        self.to_save = ToSave::News;
        self.objects_saved = None;
    }

    fn objects_state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.replicas.iter().for_each(|replica| replica.ledger.hash_objects(&mut hasher));
        hasher.finish()
    }

    /// Takes in a local look; yields the replicas that are now behind something that they were not behind before.
    pub(super) fn observe(&mut self, update: LocalUpdate) -> Vec<ReplicaKey> {
        if let Some(posture) = update.posture {
            self.trends.observe_posture(&posture);
            let at = posture.at;
            self.posture = Some(posture);
            if let Some(claim) = self.claim() {
                self.replicas.iter_mut().for_each(|replica| replica.compare(claim, at));
            }
        }
        self.polled = update.polled;
        match update.look {
            Ok(look) => {
                self.rates.record(&look);
                self.trends.observe(&look);
                let replicas = self.replicas.iter_mut();
                let behind = replicas.filter_map(|replica| replica.record(&look).then_some(replica.key)).collect();
                self.looked = true;
                self.look = Some(look);
                self.failure = None;
                behind
            }
            Err(reason) => {
                self.failure = Some(Box::new(reason));
                self.replicas.iter_mut().for_each(WatchedReplica::not_recorded);
                Vec::new()
            }
        }
    }

    /// Everything about it was looked at once.
    pub(super) fn complete(&self) -> bool {
        let local = self.target.database.is_none() || self.look.is_some() || self.failure.is_some();
        local && self.replicas.iter().all(WatchedReplica::looked_at)
    }

    /// Tells of the replicas whose first look does not come to an end; `true` when there are new ones.
    pub(super) fn give_up_waiting(&mut self, now: Moment) -> bool {
        let late = now.since(self.began) >= signed(FIRST_LOOK_PATIENCE);
        late && self.replicas.iter_mut().filter(|replica| !replica.looked_at()).map(WatchedReplica::late).count() > 0
    }

    /// Its numbers change with each second: something is pending, or its rates will be known soon.
    pub(super) fn moving(&self, now: Moment) -> bool {
        let unknown = self.look.is_some() && self.rates.rates(now).is_none();
        unknown || self.replicas.iter().any(WatchedReplica::moving)
    }

    /// Its rates change slowly with time alone: writes leave their window.
    pub(super) fn fading(&self, now: Moment) -> bool {
        let changes = |rates: Rates| rates.write_transactions_per_second != 0.0 || rates.growth_bytes_per_second != 0.0;
        self.is_monitored() && self.rates.rates(now).is_some_and(changes)
    }

    /// When its database last committed something, by our clock; `None` where that is not known.
    pub(super) fn last_commit(&self) -> Option<Timestamp> {
        self.look.as_ref()?.last_commit
    }

    /// Its files were read the last time.
    pub(super) fn is_monitored(&self) -> bool {
        self.state() == DatabaseState::Monitored
    }

    /// Where Litestream's local state says it is.
    pub(super) fn staged(&self) -> Option<&StagedPosition> {
        self.posture.as_ref()?.staging.as_ref().map(|staging| &staging.position)
    }

    /// The newest TXID that Litestream wrote here (v0.5).
    fn claim(&self) -> Option<Txid> {
        self.staged()?.txid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assessment::StoreReport;
    use crate::domain::observation::{Counters, Journal};
    use crate::domain::reason::ReasonKind;
    use crate::domain::target::{DatabaseFiles, ReplicaLocation, TargetName};
    use crate::usecase::ports::{BeaconStore, BucketStore, ReplicaStore};

    struct NoStores;

    impl Stores for NoStores {
        fn open(&self, _: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
            Err(Reason::new(ReasonKind::Failed, "there are none"))
        }

        fn beacon(&self, _: &ReplicaLocation) -> Result<Arc<dyn BeaconStore>, Reason> {
            Err(Reason::new(ReasonKind::Failed, "there are none"))
        }

        fn bucket(&self, _: &ReplicaLocation) -> Option<Arc<dyn BucketStore>> {
            None
        }

        fn report(&self) -> Vec<StoreReport> {
            Vec::new()
        }
    }

    fn at(seconds: i64) -> Moment {
        Moment::new(Timestamp::from_second(1_000_000 + seconds).unwrap(), SignedDuration::from_secs(seconds))
    }

    #[test]
    fn a_look_that_shows_nothing_new_is_no_news_for_a_while() {
        let pace = Pace::default();
        let name = TargetName("app".into());
        let target = Target {
            litestream: false,
            name: name.clone(),
            database: Some(Arc::new(DatabaseFiles { path: "/app.db".into(), meta_path: None })),
            replicas: Vec::new(),
            objectives: Arc::default(),
            drill: Arc::default(),
        };
        let mut subject = Subject::new(target, &NoStores, ReplicaKey::default, None, &pace, at(0));
        let mut news = |seconds, size_bytes| {
            let look = DatabaseLook {
                at: at(seconds),
                size_bytes,
                wal_size_bytes: None,
                page_size: 4096,
                journal: Journal::WalAbsent { change_counter: 1 },
                last_commit: None,
                counters: Counters::default(),
                replacement: Default::default(),
            };
            subject.observe(LocalUpdate { target: name.clone(), look: Ok(look), posture: None, polled: false });
            let before = Arc::clone(&subject.report);
            let news = subject.refresh(&pace, at(seconds));
            assert_eq!(news, !Arc::ptr_eq(&before, &subject.report));
            let unsaved = std::mem::take(&mut subject.to_save);
            assert_eq!(news, unsaved != ToSave::Nothing, "what is not shown is not saved either");
            news
        };
        // That there are rates at last is news, and so is each change.
        assert_eq!([news(0, 4096), news(60, 4096), news(120, 4096)], [true, true, false]);
        assert_eq!([news(180, 8192), news(1_100, 8192), news(1_160, 8192)], [true, true, false]);
        assert_eq!([news(1_399, 8192), news(1_400, 8192), news(1_460, 8192)], [false, true, false]);
    }
}
