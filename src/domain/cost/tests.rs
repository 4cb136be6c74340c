//! Replicas as Litestream keeps them by default, and what follows when a setting changes.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::domain::litestream::{
    Dated, Generation, Layout, LevelKeys, Listed, LtxName, ObjectName, SegmentName, SnapshotName, Txid,
};
use crate::domain::price::{ConfiguredPrices, USUAL};
use crate::domain::store_kind::StoreKind;

pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn file(level: u8, min: u64, max: u64, age: f64, size: u64) -> Listed {
    let at = NOW - SignedDuration::from_secs_f64(age);
    let name = ObjectName::Ltx { level, name: LtxName { min: Txid(min), max: Txid(max) } };
    Listed { name, size, at: Dated::Uploaded(at) }
}

/// A replica of a database that was written every so many seconds for two days, with Litestream's defaults.
pub(crate) fn two_days(every: u64, size: u64) -> Stock {
    let mut stock = Stock::new(Layout::V5(LevelKeys::Hex), NOW);
    let last = 2 * 86_400 / every;
    let age = |txid: u64| ((last - txid) * every) as f64;
    for txid in (1..=last).filter(|txid| age(*txid) < 300.0 || *txid == last) {
        stock.insert(&file(0, txid, txid, age(txid), size));
    }
    for (level, interval) in [(1, 30), (2, 300), (3, 3600)] {
        let step = (interval / every).max(1);
        let mut from = 1;
        while from + step - 1 <= last {
            stock.insert(&file(level, from, from + step - 1, age(from + step - 1), size * step.min(8)));
            from += step;
        }
    }
    stock.insert(&file(9, 1, last / 2, 86_400.0, 40_000_000));
    stock.insert(&file(9, 1, last, 60.0, 40_000_000));
    stock
}

pub(crate) fn watched() -> Settings {
    Settings {
        kind: StoreKind::S3,
        look: 10.0,
        listing: 60.0,
        idle: 300.0,
        levels: 300.0,
        reconcile: 3600.0,
        verify_bytes: f64::from(64 << 20),
        spot: Some(3600.0),
        spot_pages: 16.0,
        drill: Some(86_400.0),
        ..Settings::default()
    }
}

fn month(stock: &Stock, is: &Settings) -> Estimate {
    estimate(stock, &watched(), is, &priced(is).terms)
}

fn priced(is: &Settings) -> Prices {
    ConfiguredPrices::default().quote(is.kind, is.authority.as_deref(), is.class.as_deref()).prices
}

fn near(one: f64, other: f64) {
    assert!((one / other - 1.0).abs() < 0.02, "{one} is not about {other}");
}

#[test]
fn a_busy_replica_is_counted_by_its_txids_and_levels() {
    let stock = two_days(1, 500);
    let estimate = month(&stock, &watched());
    near(estimate.of(Part::Uploads).uploads, MONTH_SECONDS);
    near(estimate.of(Part::Compaction).uploads, MONTH_SECONDS * (1.0 / 30.0 + 1.0 / 300.0 + 1.0 / 3600.0));
    // Levels 1 and 2 are read once each.
    near(estimate.of(Part::Compaction).reads, MONTH_SECONDS * (1.0 / 30.0 + 1.0 / 300.0));
    near(estimate.of(Part::Snapshots).uploads, 30.44);
    // Two days of level 1 are 5760 objects: six requests for each listing of it, and one for level 0.
    let checks = 7.0 / 15.0 + (6.0 + 2.0) / 30.0 + 6.0 / 300.0 + 1.0 / 3600.0;
    near(estimate.of(Part::Listings).lists, MONTH_SECONDS * checks);
    assert_eq!(estimate.early, None);
    near(estimate.of(Part::Looks).reads, MONTH_SECONDS / 10.0);
    // 64 MiB a day are 777 bytes a second, of 5358 that come with 4 KiB for each request.
    near(estimate.of(Part::Verification).reads, MONTH_SECONDS * 1.037 * 777.0 / 5358.0);
}

#[test]
fn an_idle_replica_costs_its_storage_and_what_asks_after_it() {
    let mut stock = Stock::new(Layout::V5(LevelKeys::Hex), NOW);
    for level in [0, 1, 2, 3] {
        stock.insert(&file(level, 9, 9, 900_000.0, 200));
    }
    stock.insert(&file(9, 1, 9, 800_000.0, 1_000_000_000));
    let estimate = month(&stock, &Settings { drill: None, spot: None, ..watched() });
    let parts: Vec<_> = estimate.lines.iter().map(|(part, _)| part.as_str()).collect();
    assert_eq!(parts, ["storage", "listings", "looks"]);
    near(estimate.of(Part::Storage).stored_bytes, 1e9);
    near(estimate.of(Part::Listings).lists, MONTH_SECONDS * 2.0 / 15.0);

    // Each of so many in its store is looked at as much more seldom, but when all of it is listed at the latest.
    assert!(stock.is_at_rest() && !two_days(15, 500).is_at_rest());
    let reads = |turns: f64| month(&stock, &Settings { turns, ..watched() }).of(Part::Looks).reads;
    near(reads(1.0), MONTH_SECONDS * 2.0 / 300.0);
    near(reads(3.0), reads(1.0) / 3.0);
    near(reads(1000.0), MONTH_SECONDS * 2.0 / 3600.0);
}

/// What a minimum duration does to objects that live for five minutes.
#[test]
fn wasabi_bills_what_litestream_deletes() {
    let mut is = watched();
    assert!(is.move_to("wasabi") && !is.move_to("nobody"));
    let prices = priced(&is);
    let stock = two_days(15, 500);
    let estimate = month(&stock, &is);
    let early = estimate.early.unwrap();
    near(early.objects_per_day, 5760.0 + 2880.0 + 288.0 + 24.0 + 1.0);
    assert_eq!((early.lifetime_seconds, early.billed_days), (300.0, 90.0));
    // By hand: level 0, then the levels above it with a day and a half, then a snapshot a day.
    let [day, small] = [86_400.0, 4096.0];
    let compacted = (2880.0 + 288.0) * small + 24.0 * small;
    let by_hand = 5760.0 * small * (90.0 - 300.0 / day) + compacted * 88.5 + 40e6 * 88.0;
    near(estimate.of(Part::EarlyDeletion).stored_bytes, by_hand);
    near(estimate.of(Part::EarlyDeletion).dollars(&prices), by_hand / 1e9 * 0.00799);
    assert_eq!(month(&stock, &watched()).of(Part::EarlyDeletion), Usage::default());
}

#[test]
fn infrequent_access_is_dearer_for_small_objects_that_do_not_last() {
    let stock = two_days(1, 500);
    let is = Settings { class: Some("STANDARD_IA".into()), ..watched() };
    let dollars = |is: &Settings| month(&stock, is).dollars(&priced(is));
    // 86 400 objects a day, each billed as 128 KiB for 30 days, at $0.0125 a gigabyte.
    assert!(month(&stock, &is).of(Part::EarlyDeletion).dollars(&priced(&is)) > 4.24);
    assert!(dollars(&is) > 1.5 * dollars(&watched()));
}

#[test]
fn intervals_of_litestream_change_what_they_change() {
    let stock = two_days(1, 500);
    let uploads = |is: Settings| month(&stock, &is).of(Part::Uploads).uploads / MONTH_SECONDS;
    let monitor = |monitor: f64| uploads(Settings { monitor, ..watched() });
    near(monitor(10.0), 0.1);
    assert!((1.0..8.0).contains(&monitor(0.5)));
    // v0.5 makes an object for each monitor-interval, whenever it uploads them.
    near(uploads(Settings { sync: 60.0, ..watched() }), 1.0);
    let stored = |is: Settings| month(&stock, &is).of(Part::Storage).stored_bytes;
    assert!(stored(Settings { retention: Some(30.0 * DAY), ..watched() }) > 10.0 * stored(watched()));
    let lists = |level0_check: f64| month(&stock, &Settings { level0_check, ..watched() }).of(Part::Listings).lists;
    assert!(lists(15.0) > 1.5 * lists(300.0));
    assert!(month(&stock, &Settings { level0_retention: None, ..watched() }).of(Part::Deletions).deletions < 1000.0);
}

#[test]
fn segments_of_v03_are_counted_by_their_times() {
    let mut stock = Stock::new(Layout::V3, NOW);
    for second in 0..3600 {
        let at = Dated::Uploaded(NOW - SignedDuration::from_secs(second));
        let name = SegmentName { index: 1, offset: 4152 * second.unsigned_abs() };
        stock.insert(&Listed { name: ObjectName::Segment(Generation(1), name), size: 100, at });
    }
    let at = Dated::Uploaded(NOW - SignedDuration::from_secs(3600));
    stock.insert(&Listed { name: ObjectName::Snapshot(Generation(1), SnapshotName { index: 0 }), size: 5000, at });
    // Of another layout: it is stored, and nothing comes.
    stock.insert(&file(0, 1, 1, 5.0, 77));
    let estimate = month(&stock, &watched());
    near(estimate.of(Part::Uploads).uploads, MONTH_SECONDS);
    assert_eq!((stock.objects(), estimate.of(Part::Storage).stored_bytes), (3602, 365_077.0));
    near(month(&stock, &Settings { sync: 10.0, ..watched() }).of(Part::Uploads).uploads, MONTH_SECONDS / 10.0);
    // Each look lists.
    near(estimate.of(Part::Looks).lists, MONTH_SECONDS * (0.1 + 2.0 / 300.0 + 6.0 / 3600.0));
}

#[test]
fn a_key_is_found_by_its_last_word_where_that_is_its_own() {
    let found = |name: &str| Key::find(name).map(|key| key.name);
    assert_eq!(found("listing-interval"), Some("replica.listing-interval"));
    assert_eq!(found("replica.interval"), Some("replica.interval"));
    assert_eq!(["interval", "", "nothing"].map(found), [None; 3]);
    assert_eq!(found("retention"), Some("retention"));
}

/// Any replica, with sizes and ages of any kind.
fn stocks() -> impl Strategy<Value = Stock> {
    let object = (0..10_u8, 1..5_000_u64, 0.0..400_000.0_f64, 0..1_000_000_u64);
    proptest::collection::vec(object, 0..60).prop_map(|objects| {
        let mut stock = Stock::new(Layout::V5(LevelKeys::Plain), NOW);
        for (level, txid, age, size) in objects {
            stock.insert(&file(level, if level == 9 { 1 } else { txid }, txid, age, size));
        }
        stock
    })
}

/// Where requests are bought, the durations that only they depend on.
const ASKING: [&str; 10] = [
    "monitor-interval",
    "sync-interval",
    "l0-retention-check-interval",
    "replica.interval",
    "replica.listing-interval",
    "replica.idle-interval",
    "replica.level-interval",
    "replica.reconcile-interval",
    "drill.interval",
    "beacon.interval",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn halving_an_interval_never_costs_less(stock in stocks(), key in 0..ASKING.len(), seconds in 0.5..5_000.0_f64) {
        let Takes::Duration(set) = Key::find(ASKING[key]).unwrap().takes else { panic!() };
        for row in USUAL {
            // What verification may not read is not read, however much comes.
            let is = Settings { verify_bytes: 1e15, ..watched() };
            let [long, short] = [seconds, seconds / 2.0].map(|seconds| {
                let mut is = is.clone();
                set(&mut is, seconds);
                let estimate = estimate(&stock, &watched(), &is, &row.prices.terms);
                estimate.lines.iter().map(|(_, usage)| usage.dollars(&row.prices)).sum::<f64>()
            });
            prop_assert!(short >= long * (1.0 - 1e-9), "{} {}: {short} < {long}", ASKING[key], row.provider);
        }
    }

    #[test]
    fn parts_add_up_and_nothing_is_negative_or_no_number(stock in stocks()) {
        for row in USUAL {
            let estimate = estimate(&stock, &watched(), &watched(), &row.prices.terms);
            let sum: f64 = Part::ALL.iter().map(|part| estimate.of(*part).dollars(&row.prices)).sum();
            prop_assert!((estimate.dollars(&row.prices) - sum).abs() <= 1e-9 * sum.abs() && sum >= 0.0);
            for (part, usage) in &estimate.lines {
                let Usage { lists, reads, uploads, deletions, received_bytes, stored_bytes } = *usage;
                let all = [lists, reads, uploads, deletions, received_bytes, stored_bytes];
                prop_assert!(all.iter().all(|number| number.is_finite() && *number >= 0.0), "{part:?} {usage:?}");
            }
        }
    }

    #[test]
    fn what_is_not_written_is_not_uploaded(ages in proptest::collection::vec(0.0..900_000.0_f64, 1..20)) {
        let mut stock = Stock::new(Layout::V5(LevelKeys::Plain), NOW);
        ages.iter().for_each(|age| stock.insert(&file(0, 7, 7, *age, 100)));
        let estimate = month(&stock, &watched());
        for part in [Part::Uploads, Part::Compaction, Part::Snapshots, Part::EarlyDeletion] {
            prop_assert_eq!(estimate.of(part), Usage::default());
        }
    }
}
