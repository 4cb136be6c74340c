//! From what is configured to what an estimate depends on.

use std::time::Duration;

use jiff::Timestamp;

use crate::delivery::cli::sources::Picked;
use crate::domain::cost::{Settings, Stock};
use crate::domain::drill::DrillHistory;
use crate::domain::drill::schedule::DrillTiming;
use crate::domain::target::{ReplicaLocation, ReplicaTarget, Target, authority};
use crate::domain::verification::VerifyDepth;
use crate::infrastructure::config;
use crate::usecase::ports::Pace;

/// The settings of a replica, one of so many `at_rest` in its store, or none of them. One that is named by its URL alone is
/// not watched.
pub(super) fn of(
    picked: &Picked,
    configured: &config::Settings,
    stock: &Stock,
    at_rest: Option<usize>,
    now: Timestamp,
) -> Settings {
    let settings = litestreams(picked, stock);
    let Some(target) = &picked.target else { return settings };
    let pace = &configured.pace;
    let watched = watched(settings, target, &picked.replica, pace, stock, now);
    match at_rest {
        Some(count) => Settings { turns: count as f64, reconcile: pace.reconcile_at_rest().as_secs_f64(), ..watched },
        None => watched,
    }
}

/// Of each replica that is at rest, how many in its store are, as the agent beside their databases knows it.
pub(super) fn at_rest(picked: &[Picked], stocks: &[Option<Stock>]) -> Vec<Option<usize>> {
    let rests = |(Picked { target, replica }, stock): (&Picked, &Option<Stock>)| {
        let here = target.as_ref().is_some_and(|target| target.database.is_some()) && replica.location.is_remote();
        let rests = here && stock.as_ref().is_some_and(Stock::is_at_rest);
        rests.then(|| replica.location.store())
    };
    let stores: Vec<Option<ReplicaLocation>> = picked.iter().zip(stocks).map(rests).collect();
    let mut counts: Vec<(&ReplicaLocation, usize)> = Vec::new();
    for store in stores.iter().flatten() {
        match counts.iter_mut().find(|(known, _)| *known == store) {
            Some((_, count)) => *count += 1,
            None => counts.push((store, 1)),
        }
    }
    let count = |store| counts.iter().find(|(known, _)| *known == store).map(|(_, count)| *count);
    stores.iter().map(|store| count(store.as_ref()?)).collect()
}

/// Litestream's, where it was told, and else its defaults.
fn litestreams(Picked { target, replica }: &Picked, stock: &Stock) -> Settings {
    let default = Settings::default();
    let seconds = |told: Option<Duration>, default: f64| told.map_or(default, |told| told.as_secs_f64());
    let age = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
    let kept = replica.kept;
    let retention = kept.map_or(default.retention, |kept| age(kept.snapshots));
    let snapshot = if stock.is_v03() {
        let told = target.as_ref().and_then(|target| target.objectives.snapshot_interval);
        seconds(told, retention.unwrap_or(default.snapshot))
    } else {
        seconds(kept.map(|kept| kept.every), default.snapshot)
    };
    Settings {
        kind: replica.location.kind(),
        authority: replica.location.endpoint().map(|endpoint| authority(endpoint).to_owned()),
        class: replica.written.class.clone(),
        monitor: seconds(replica.written.every, default.monitor),
        sync: replica.sync_interval.as_secs_f64(),
        snapshot,
        retention,
        level0_retention: kept.map_or(default.level0_retention, |kept| age(kept.level0)),
        level0_check: seconds(replica.written.level0_check, default.level0_check),
        ..default
    }
}

/// As the agent beside the database watches it.
fn watched(
    settings: Settings,
    target: &Target,
    replica: &ReplicaTarget,
    pace: &Pace,
    stock: &Stock,
    now: Timestamp,
) -> Settings {
    let remote = replica.location.is_remote();
    let look = if remote { pace.bucket } else { pace.directory };
    let named = settings.kind.is_atomic() && !stock.is_v03() && pace.listing > look;
    let levels = if named { pace.bucket_levels } else { pace.levels };
    let budget = if remote { pace.verify.bucket } else { pace.verify.directory };
    let readable = !replica.encrypted || !replica.age_identities.is_empty();
    let verified = readable && pace.verify.depth != VerifyDepth::None;
    let compared = verified && !stock.is_v03() && !replica.encrypted && target.database.is_some();
    let timing = DrillTiming {
        schedule: &target.drill.schedule,
        history: &DrillHistory::default(),
        download_bytes: stock.drill_bytes() as u64,
        remembered: true,
        share: 0.0,
        replicas: 1,
        window: None,
        healed_at: None,
    };
    Settings {
        look: look.as_secs_f64(),
        listing: pace.listing.as_secs_f64(),
        idle: pace.idle.as_secs_f64(),
        levels: levels.as_secs_f64(),
        reconcile: pace.reconcile.as_secs_f64(),
        verify_bytes: if verified { budget as f64 } else { 0.0 },
        spot: pace.verify.spot.interval.filter(|_| compared).map(|every| every.as_secs_f64()),
        spot_pages: f64::from(pace.verify.spot.pages),
        drill: timing.interval(now).filter(|_| readable).map(|every| every.as_secs_f64()),
        // The agent beside the database writes it.
        beacon: pace.beacon.as_ref().filter(|_| target.database.is_some()).map(|beacon| beacon.interval.as_secs_f64()),
        ..settings
    }
}
