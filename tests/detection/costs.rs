//! What looks at a replica cost: their requests, counted at the store of a simulated world, and that the estimate of
//! `streamgauge cost` agrees. The table is the first part of docs/COST.md; `UPDATE=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::alert::{Alert, AlertState};
use streamgauge::domain::alerting::Alerting;
use streamgauge::domain::assess::costs::Costs;
use streamgauge::domain::cost::{Part, Settings, Stock, estimate};
use streamgauge::domain::litestream::{Dated, Layout, LevelKeys, Listed, LtxName, ObjectName, Txid};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::price::{MONTH_SECONDS, Prices, Terms, usual_prices};
use streamgauge::domain::report::Report;
use streamgauge::domain::sqlite::WalPosition;
use streamgauge::domain::target::StoreKind;
use streamgauge::domain::verification::VerifyPolicy;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::Pace;
use streamgauge::usecase::replica_probe::ReplicaProbe;
use streamgauge_testkit::ltx::lz4_frame;
use streamgauge_testkit::wal::end_of;

use crate::faulty_store::FaultyStore;
use crate::world::{Event, Site, World, live, replica};

/// The documentation that this test keeps true, up to [`REST`].
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COST.md");

/// Where the part begins that this test does not write.
const REST: &str = "\n## What replication costs";

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What goes before the day: idle databases are at rest by then, although Litestream itself commits once when it starts.
const BEFORE: i64 = 3 * HOUR;

/// Looks of a day, one each 10 seconds.
const LOOKS: u64 = 8640;

/// How looks are made.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Each look lists what is new.
    Listing,
    /// As by default.
    ByName,
}

impl How {
    fn site(self, idle: usize) -> Site {
        // The poll and the sweep, which ask no store, do not have to be so quick here; reading objects has a budget of its own.
        let seconds = |busy, quiet| Duration::from_secs(if idle == 0 { busy } else { quiet });
        let usual = Pace {
            poll: seconds(5, 60),
            sweep: seconds(60, 43_200),
            discovery: seconds(60, 43_200),
            verify: VerifyPolicy::OFF,
            ..Pace::default()
        };
        let pace = match self {
            Self::Listing => Pace { listing: usual.bucket, bucket_levels: usual.levels, ..usual },
            Self::ByName => usual,
        };
        let alerting = Alerting { evaluation_interval: seconds(3600, 43_200), ..Alerting::default() };
        Site { pace, alerting, idle, ..Site::default() }
    }
}

/// Requests, by what they are billed as.
#[derive(Clone, Copy, Debug, Default)]
struct Bill {
    lists: f64,
    reads: f64,
}

impl Bill {
    fn of(report: &Report) -> Self {
        let operations = || report.assessment.agent.stores.iter().flat_map(|store| &store.operations);
        let sum =
            |names: &[&str]| operations().filter(|o| names.contains(&o.operation)).map(|o| o.requests).sum::<u64>();
        Self { lists: sum(&["list", "folders"]) as f64, reads: sum(&["read"]) as f64 }
    }

    fn dollars(self) -> f64 {
        let prices = usual_prices(StoreKind::S3, "").unwrap();
        self.lists * prices.dollars(0, 1, 0) + self.reads * prices.dollars(1, 0, 0)
    }

    fn requests(self) -> f64 {
        self.lists + self.reads
    }
}

/// A database, and what is done to it.
struct Case {
    name: &'static str,
    events: &'static [Event],
    /// Idle databases in the same bucket.
    idle: usize,
    /// What it is to be compared with.
    listing: bool,
}

const CASES: [Case; 6] = [
    Case { name: "idle", events: &[], idle: 0, listing: true },
    Case { name: "idle, one of 1000 in a bucket", events: &[], idle: 999, listing: false },
    Case { name: "written every 10 minutes", events: &[(1, |w| writes(w, 600))], idle: 0, listing: true },
    Case { name: "every 15 seconds", events: &[(1, |w| writes(w, 15))], idle: 0, listing: true },
    Case { name: "every second", events: &[(1, |w| writes(w, 1))], idle: 0, listing: true },
    Case {
        name: "every second, kept for 720 hours",
        events: &[(0, |w| w.peer.remember(30)), (1, |w| writes(w, 1))],
        idle: 0,
        listing: true,
    },
];

/// A transaction every so many seconds.
fn writes(world: &mut World, every: i64) {
    world.peer.writes_every = Some(every);
    world.peer.hollow = true;
}

/// The requests of a day for one database, and those of a script that lists all its levels every 10 seconds. The day begins
/// three hours after the agent.
fn day(case: &Case, how: How) -> (Bill, Bill) {
    let (mut first, mut last, mut naive) = (Bill::default(), Bill::default(), Bill::default());
    let mut step = 0;
    live(&how.site(case.idle), BEFORE + DAY, case.events, |seen| {
        let Some(report) = seen.report.as_deref() else { return };
        step += 15;
        (first, last) = (if step <= BEFORE { Bill::of(report) } else { first }, Bill::of(report));
        if let Some(stored) = seen.stored.filter(|_| step > BEFORE + 15) {
            let pages: usize = stored.iter().map(|files| files.div_ceil(1000)).sum();
            naive.lists += ((pages + 1) as u64 * LOOKS) as f64 / 24.0;
        }
    });
    let all = (case.idle + 1) as f64;
    (Bill { lists: (last.lists - first.lists) / all, reads: (last.reads - first.reads) / all }, naive)
}

const HEAD: &str = "\
# What watching costs

The table shows one day of requests for one replica in a bucket, with the default intervals, and what they cost at the prices
of Amazon S3: $0.005 for 1000 listings, $0.0004 for 1000 reads. tests/detection/costs.rs counts them at a simulated store,
over a whole day that begins three hours after the agent, and writes this table. Unless the table says otherwise,
compactions, snapshots and retention are Litestream's defaults. What `[verify]`, drills, spot checks and beacons read comes
on top; each has its own limit, and a round of spot checks, one an hour, begins with a look.

- **Everything listed**: what a script needs that lists the replica every 10 seconds, folder by folder: the folders, and then
  1000 objects with each request. A script that lists a small v0.5 replica in one go takes a sixth of the requests.
- **New objects listed**: `listing-interval = \"10s\"` and `level-interval = \"1m\"`.
- **By default**: the agent asks for the next objects by name.

For v0.5, the whole agent runs. For v0.3, only its looks at the replica run, as often as the agent makes them: every 10
seconds while the database is written, otherwise every 5 minutes.

| database | everything listed: requests | $ a day | new objects listed: $ a day | by default: listings | reads | $ a day | × fewer requests | × cheaper |
|---|---|---|---|---|---|---|---|---|
";

const TAIL: &str = "
In directories and on SFTP and WebDAV servers, each look lists the replica.

## Idle databases

A database on the same host is *at rest* when it has committed nothing for two hours, and nothing since all of it was proven.
Its replica cannot be behind, and Litestream has compacted what was committed last; all that remains to be seen is whether
the replica is still there.

- **In turn.** Of the replicas at rest in one store (with one login), the agent looks at one every `idle-interval`: the one
  whose last look is the oldest. A single replica is therefore looked at every 5 minutes. Each of 1000 is looked at seldom,
  but their store as often as before.
- **If that look fails**, or finds that something is gone, the agent at once looks at all the others, as many at a time as
  `concurrency` allows.
- **Everything is listed** every `idle-reconcile-interval`, 6 hours, and also when a commit is seen and the last such listing
  is older than `reconcile-interval`. For a replica with fewer than 1000 objects in S3, Google Cloud Storage, Azure or OSS,
  that is one request.

If only one replica is deleted or damaged, the agent does not see it before that replica's turn or its listing. With n
replicas at rest, that takes n × 5 minutes, and never more than 6 hours (a day for a v0.3 replica with more than 24 000
objects). An agent that sees only the bucket does not know what is idle: it looks every `idle-interval`, and lists everything
every `reconcile-interval`.

## v0.3

A segment begins where the one before it ends, or at the start of the next WAL index. A look reads the newest segment, which
says where it ends, and asks for the next one by that name, until it has reached the place where the database was when the
look began. A segment found in this way follows the one before it in the same WAL index without a gap, so the recovery point
does not wait for a listing. That an index is complete when the next one begins is Litestream's promise: it uploads the last
segment of one index before the first of the next. A listing or a drill proves it.

If nothing follows although something was committed, the agent lists new segments, snapshots and generations, at most every
`listing-interval`.

| what is listed | how often | what it shows |
|---|---|---|
| new segments of the generation, its new snapshots, other generations | every `reconcile-interval`; every `listing-interval` while the replica is behind | that replication went on in another generation, or with v0.5; snapshots |
| everything | every `reconcile-interval`; once a day with more than 24 000 objects | deleted objects: those that retention takes, and others |

Between listings, the agent does not see that a segment in the middle was deleted, for up to a day in a large replica. (In
directories and on SFTP and WebDAV servers, which each look lists, it sees that every `level-interval`, a minute.) Each look
checks the newest segment: it believes only segments that follow it, and says that nothing is new only while it is there.

## How a look at v0.5 does without a listing

Level 0 has one object for each TXID, so the name of the next one is known. A look asks for the first 100 bytes of the file
that Litestream wrote last, according to its metadata directory beside the database. If that file is not in the bucket yet,
or the directory does not say, the look asks for the files before it, or for those that follow the newest known. The answer
is the header of the file: the same bytes that prove how far a listed replica has got. If nothing is new, the look reads the
header of the newest known file again.

| a look by name | shows | does not show |
|---|---|---|
| finds a file | it is there, and how far in the WAL it reaches: its commits are in the bucket, and lag is as exact as with a listing | that all files before it are there, unless it asked for each (up to three) |
| finds nothing new | the newest known file is still there, with the same header: the replica is as far as it was | that no other object was deleted since the last listing |
| fails | nothing: the look failed | |

Lag therefore advances with each look. **The recovery point waits**: it does not pass a file that was not seen, until the
next listing shows all of them, or a hole. The agent lists new objects

- `listing-interval` after the last listing, when something is new or Litestream has written more than the replica shows;
- every `idle-interval`, when nothing beside the database says how far Litestream is (an agent that sees only the bucket);
- at once, when the replica does not restore, when its newest file is gone, was replaced or is not what its name says, or
  when the store refuses to say whether there is a next one (S3 refuses if you may not list).
";

/// What looks were meant to cost, and do.
fn shortfall(rows: &[Row]) -> String {
    let [alone, one_of_many, _, often, busy, kept, v3_idle, v3_busy] = rows else { unreachable!() };
    // What lists a replica each 15 seconds asks as much of one that is written every second as of one that is written then.
    let listing = often.listing.unwrap().dollars();
    let [lists, reads] = [Bill { reads: 0.0, ..busy.named }, Bill { lists: 0.0, ..busy.named }].map(Bill::dollars);
    format!(
        "
## Goals, and what was reached

What looks were meant to cost, and what they do cost:

| | goal | reached |
|---|---|---|
| idle, against everything listed every 10 seconds | 10 000 × fewer requests | {:.0} × alone in a bucket, {:.0} × as one of 1000 |
| v0.5, written every second, against the same | 50 × cheaper | {:.0} ×; {:.0} × with 720 hours of history |
| the same, against new objects listed every 15 seconds | 4 × cheaper | {:.1} ×; {:.1} × if it is written as often |
| v0.3, 720 hours, against everything listed every 10 seconds | 2000 × cheaper | {:.0} × written, {:.0} × idle |

- **Idle and alone.** 10 000 × fewer would be five requests a day. The agent looks at such a replica every 5 minutes on
  purpose: for ${:.4} a day, you learn soon that its bucket is gone. A longer `idle-interval` makes it cheaper.
- **Written all the time.** Listings are ${:.4} of the ${:.4} a day: level 0 once a minute, every level every 5 minutes.
  Compaction and retention delete objects all the time, and only listings show that everything needed is still there; the
  recovery point waits for them. By name alone it would be {:.0} × cheaper. With a longer `listing-interval` the recovery point
  waits longer, and lag stays as exact.
",
        alone.fewer(),
        one_of_many.fewer(),
        busy.cheaper(),
        kept.cheaper(),
        listing / busy.named.dollars(),
        listing / often.named.dollars(),
        v3_busy.cheaper(),
        v3_idle.cheaper(),
        alone.named.dollars(),
        lists,
        lists + reads,
        busy.naive.dollars() / reads,
    )
}

/// A replica of v0.3 with a transaction each 5 seconds, which is a segment, and checkpoints, which begin a WAL: 518 400
/// segments of 720 hours.
struct Generation {
    files: Arc<MemoryStore>,
    /// How many transactions were made.
    commits: i64,
}

impl Generation {
    const EVERY: i64 = 5;
    /// Transactions of one WAL.
    const WAL: i64 = 100;
    /// Those of 720 hours.
    const KEPT: i64 = 720 * HOUR / Self::EVERY;

    fn key(commit: i64) -> String {
        let (index, frames) = (commit / Self::WAL, (commit % Self::WAL) as u32);
        let offset = if frames == 0 { 0 } else { end_of(frames, 512) };
        format!("generations/050e5774cd45548e/wal/{index:08x}_{offset:08x}.wal.lz4")
    }

    /// Where the WAL ends after a transaction.
    fn position(commit: i64) -> WalPosition {
        let (salt, frames) = ((commit / Self::WAL) as u32, (commit % Self::WAL) as u32 + 1);
        WalPosition { salt1: salt, salt2: salt, end: end_of(frames, 512) }
    }

    fn commit(&mut self, now: Moment) {
        let commit = self.commits;
        let salt = ((commit / Self::WAL) as u32).to_be_bytes();
        let mut wal = Vec::new();
        if commit % Self::WAL == 0 {
            // Magic, version, page size, number of the checkpoint, salts, and checksums that nobody looks at.
            for word in [0x377f_0682_u32.to_be_bytes(), 3_007_000_u32.to_be_bytes(), 512_u32.to_be_bytes(), salt] {
                wal.extend(word);
            }
            wal.extend([salt, salt, salt, salt].concat());
        }
        wal.extend([1_u32.to_be_bytes(), 1_u32.to_be_bytes(), salt, salt, salt, salt].concat());
        wal.extend([0; 512]);
        self.put(lz4_frame(&wal), now);
    }

    /// The segment of a transaction; one that nobody reads may be empty.
    fn put(&mut self, segment: Vec<u8>, now: Moment) {
        let commit = self.commits;
        self.files.put(Self::key(commit), segment, now.wall());
        if commit % (DAY / Self::EVERY) == 0 {
            let index = commit / Self::WAL;
            self.files.put(format!("generations/050e5774cd45548e/snapshots/{index:08x}.snapshot.lz4"), "", now.wall());
        }
        self.commits += 1;
    }
}

/// The requests of a day of looks at a replica of v0.3, and those of a script that lists everything every 10 seconds.
fn day_of_v3(is_written: bool) -> (Bill, Bill) {
    let at = |second: i64| {
        let mono = SignedDuration::from_secs(second);
        Moment::new(Timestamp::from_second(1_772_442_420).unwrap() + mono, mono)
    };
    let mut generation = Generation { files: Arc::new(MemoryStore::flat()), commits: 0 };
    for commit in 1..Generation::KEPT {
        generation.put(Vec::new(), at((commit - Generation::KEPT) * Generation::EVERY));
    }
    generation.commit(at(0));
    let mut probe = ReplicaProbe::of(&Arc::new(replica("app".to_owned())));
    let pages = (Generation::KEPT as u64).div_ceil(1000) + 1;
    let store = FaultyStore::new(Arc::clone(&generation.files));
    let usual = Pace::default();
    let (pace, every) = match is_written {
        true => (usual.clone(), usual.bucket),
        false => (Pace { reconcile: usual.idle_reconcile, ..usual.clone() }, usual.idle),
    };
    let every = every.as_secs().cast_signed();
    for second in (0..=HOUR + DAY).step_by(every as usize) {
        if second <= HOUR {
            store.calls();
        }
        while is_written && generation.commits < Generation::KEPT + second / Generation::EVERY {
            generation.commit(at(second));
        }
        probe.aim(Some(Generation::position(generation.commits - 1)));
        let (_, found) = probe.look(&store, None, at(second), &pace).now_or_never().unwrap().unwrap();
        assert_eq!(found.position, Some(Generation::position(generation.commits - 1)));
    }
    let [lists, folders, reads] = store.calls().map(|count| count as f64);
    (Bill { lists: lists + folders, reads }, Bill { lists: (pages * LOOKS) as f64, reads: 0.0 })
}

/// The numbers of a case.
struct Row {
    naive: Bill,
    listing: Option<Bill>,
    named: Bill,
}

impl Row {
    fn fewer(&self) -> f64 {
        self.naive.requests() / self.named.requests()
    }

    fn cheaper(&self) -> f64 {
        self.naive.dollars() / self.named.dollars()
    }
}

fn row(table: &mut String, name: &str, row: &Row) {
    let (Row { naive, listing, named }, fewer, cheaper) = (row, row.fewer(), row.cheaper());
    let listed = listing.map_or("–".to_owned(), |bill| format!("{:.4}", bill.dollars()));
    writeln!(
        table,
        "| {name} | {:.0} | {:.4} | {listed} | {} | {} | {:.6} | {fewer:.0} | {cheaper:.0} |",
        naive.requests(),
        naive.dollars(),
        number(named.lists),
        number(named.reads),
        named.dollars(),
    )
    .unwrap();
}

/// A count; a share of one with a digit more.
fn number(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count}") } else { format!("{count:.1}") }
}

#[test]
fn what_watching_costs() {
    let only = std::env::var("STREAMGAUGE_SCENARIO").ok();
    let wanted = |case: &&Case| only.as_ref().is_none_or(|only| case.name.contains(only));
    let cases: Vec<&Case> = CASES.iter().filter(wanted).collect();
    let mut rows: Vec<Row> = thread::scope(|scope| {
        let begin = |case, how| scope.spawn(move || day(case, how));
        let days: Vec<_> = cases
            .iter()
            .map(|case| (begin(*case, How::ByName), case.listing.then(|| begin(*case, How::Listing))))
            .collect();
        let row = |(named, listing): (ScopedJoinHandle<'_, _>, Option<ScopedJoinHandle<'_, (Bill, Bill)>>)| {
            let (named, naive) = named.join().unwrap();
            Row { naive, listing: listing.map(|day| day.join().unwrap().0), named }
        };
        days.into_iter().map(row).collect()
    });
    let v3 = [("v0.3, idle, 720 hours", false), ("v0.3, every 5 seconds, 720 hours", true)];
    let v3: Vec<_> = v3.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| name.contains(only))).collect();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    for (name, is_written) in v3 {
        let (named, naive) = day_of_v3(is_written);
        names.push(name);
        rows.push(Row { naive, listing: None, named });
    }
    let mut table = HEAD.to_owned();
    names.iter().zip(&rows).for_each(|(name, numbers)| row(&mut table, name, numbers));
    if only.is_some() {
        eprintln!("{table}");
        return;
    }
    table += TAIL;
    table += &shortfall(&rows);
    let found = fs::read_to_string(DOCUMENT).unwrap();
    let (generated, written) = found.split_once(REST).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, format!("{table}{REST}{written}")).unwrap();
    } else {
        assert_eq!(generated, table, "run with UPDATE=1 and read what changed");
    }
    let [alone, one_of_many, seldom, often, busy, kept, v3_idle, v3_busy] = rows.as_slice() else { unreachable!() };
    assert!(alone.fewer() > 80.0 && one_of_many.fewer() > 10_000.0);
    assert!(seldom.cheaper() > 40.0 && often.cheaper() > 12.0 && busy.cheaper() > 12.0 && kept.cheaper() > 50.0);
    assert!(v3_idle.fewer() > 5_000.0 && v3_busy.cheaper() > 2_000.0);
    for (every, row, least) in [(15, often, 3.9), (1, busy, 4.5)] {
        let listing = row.listing.unwrap();
        assert!(listing.dollars() > least * row.named.dollars());
        estimated(every, How::Listing, listing);
        estimated(every, How::ByName, row.named);
    }
}

/// What a life costs a month in its fourth to sixth hour, in each of which the database is written each second, how much rarer
/// looks were then, and after how many seconds it was told that Litestream had ended.
fn budgeted(request_budget: Option<f64>) -> (f64, Option<f64>, i64) {
    const ENDS: i64 = 6 * HOUR;
    let costs = Costs { request_budget, ..Costs::default() };
    let site = Site { alerting: Alerting::default(), costs, ..How::ByName.site(0) };
    let events: [Event; 2] = [(1, |w| writes(w, 1)), (ENDS, |w| w.peer.stop())];
    let (mut bills, mut spacing, mut told, mut second) = ([0.0; 2], None, None, 0);
    live(&site, ENDS + HOUR / 2, &events, |seen| {
        let Some(report) = seen.report.as_deref() else { return };
        second += 15;
        for (bill, until) in bills.iter_mut().zip([ENDS / 2, ENDS]) {
            *bill = if second <= until { Bill::of(report).dollars() } else { *bill };
        }
        spacing = report.assessment.agent.cost.look_spacing;
        let fires =
            |alert: &Arc<Alert>| alert.labels["alertname"] == "ReplicationLag" && alert.state == AlertState::Firing;
        told = told.or_else(|| report.alerts.iter().any(fires).then_some(second - ENDS));
    });
    ((bills[1] - bills[0]) / (ENDS / 2) as f64 * MONTH_SECONDS, spacing, told.expect("an alert"))
}

#[test]
fn requests_stay_within_their_budget_and_no_page_is_late() {
    let (usual, none, in_time) = budgeted(None);
    let (dollars, spacing, told) = budgeted(Some(usual / 4.0));
    assert_eq!(none, None);
    assert!((usual / 8.0..usual / 3.6).contains(&dollars), "${dollars:.3} of ${:.3} a month", usual / 4.0);
    assert!(spacing.is_some_and(|times| times > 3.0), "{spacing:?}");
    // A third of the objective of 5 minutes is the most that lies between two looks.
    assert!((0..=in_time + 100).contains(&told), "after {told} s, not {in_time} s");
    // With nothing to spend, looks still go on.
    let (least, spacing, told) = budgeted(Some(0.0));
    assert!(least < dollars && spacing == Some(10.0) && told <= in_time + 100, "{least} {spacing:?} {told}");
}

/// What `streamgauge cost` estimates of looks is within a tenth of what was counted, in dollars.
fn estimated(every: i64, how: How, counted: Bill) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let file = |level, min, max, age| {
        let name = ObjectName::Ltx { level, name: LtxName { min: Txid(min), max: Txid(max) } };
        Listed { name, size: 300, at: Dated::Written(now - SignedDuration::from_secs(age)) }
    };
    let mut stock = Stock::new(Layout::V5(LevelKeys::Hex), now);
    let txids = 1 + (HOUR / every).unsigned_abs();
    (0..5).for_each(|level| stock.insert(&file([0, 1, 2, 3, 9][level], 1, 1, HOUR)));
    stock.insert(&file(0, txids, txids, 0));
    let pace = how.site(0).pace;
    let levels = if how == How::ByName { pace.bucket_levels } else { pace.levels };
    let settings = Settings {
        kind: StoreKind::S3,
        look: pace.bucket.as_secs_f64(),
        listing: pace.listing.as_secs_f64(),
        idle: pace.idle.as_secs_f64(),
        levels: levels.as_secs_f64(),
        reconcile: pace.reconcile.as_secs_f64(),
        ..Settings::default()
    };
    let looks = estimate(&stock, &settings, &settings, &Terms::default()).of(Part::Looks);
    let prices = Prices { received_per_gigabyte: 0.0, ..usual_prices(StoreKind::S3, "").unwrap() };
    let dollars = looks.dollars(&prices) / (MONTH_SECONDS / 86_400.0);
    let ratio = dollars / counted.dollars();
    assert!((0.9..1.1).contains(&ratio), "{every} {counted:?} {looks:?}: {ratio}");
}
