//! What looks at a replica cost: their requests, counted at the store of a simulated world. The table is
//! docs/COST.md; `UPDATE=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use streamgauge::domain::price::usual_prices;
use streamgauge::domain::report::Report;
use streamgauge::domain::target::Objectives;
use streamgauge::domain::verification::VerifyPolicy;
use streamgauge::usecase::ports::Pace;

use crate::world::{Event, Site, live};

/// The documentation that this test keeps true.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COST.md");

const HOUR: i64 = 3600;

/// How looks are made.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Everything is listed every 10 seconds, as a script would do it.
    Everything,
    /// Each look lists what is new.
    Listing,
    /// As by default.
    ByName,
}

impl How {
    fn pace(self) -> Pace {
        // The poll does not have to be so quick here; reading objects has a budget of its own.
        let usual = Pace { poll: Duration::from_secs(5), verify: VerifyPolicy::OFF, ..Pace::default() };
        let listing = Pace { listing: usual.bucket, bucket_levels: usual.levels, ..usual.clone() };
        match self {
            Self::Everything => Pace { reconcile: usual.bucket, idle: usual.bucket, ..listing },
            Self::Listing => listing,
            Self::ByName => usual,
        }
    }
}

/// A transaction every so many seconds.
fn written(every: Option<i64>) -> &'static [Event] {
    match every {
        None => &[],
        Some(1) => &[(1, |w| w.peer.writes_every = Some(1))],
        Some(15) => &[(1, |w| w.peer.writes_every = Some(15))],
        Some(_) => &[(1, |w| w.peer.writes_every = Some(600))],
    }
}

/// Requests, by what they are billed as.
#[derive(Clone, Copy, Debug)]
struct Bill {
    lists: u64,
    reads: u64,
}

impl Bill {
    fn of(report: &Report) -> Self {
        let operations = || report.assessment.agent.stores.iter().flat_map(|store| &store.operations);
        let sum = |names: &[&str]| operations().filter(|o| names.contains(&o.operation)).map(|o| o.requests).sum();
        Self { lists: sum(&["list", "folders"]), reads: sum(&["read"]) }
    }

    fn dollars(self) -> f64 {
        usual_prices("s3", "").unwrap().dollars(self.reads, self.lists, 0)
    }
}

/// What the second hour of looks takes, as a day of such hours.
fn day(every: Option<i64>, how: How) -> Bill {
    let site = Site { objectives: Objectives::default(), pace: how.pace(), observer: false };
    let mut bills = Vec::new();
    live(&site, 2 * HOUR, written(every), |seen| bills.extend(seen.report.as_deref().map(Bill::of)));
    let (last, first) = (bills[bills.len() - 1], bills[bills.len() / 2]);
    Bill { lists: 24 * (last.lists - first.lists), reads: 24 * (last.reads - first.reads) }
}

const HEAD: &str = "\
# What watching costs

The requests of a day for one replica of Litestream 0.5 in a bucket, with the intervals as they are by default: 24 times those of
the second hour, counted at a simulated store (tests/detection/costs.rs, which also writes this table), and dollars at the prices
of Amazon S3: $0.005 for 1000 listings, $0.0004 for 1000 reads. What `[verify]`, drills, spot checks and beacons read comes on
top; each has a limit of its own.

- **Everything listed**: what a script does that lists the whole replica every 10 seconds.
- **New objects listed**: `listing-interval = \"10s\"` and `level-interval = \"1m\"`.
- **By name**: the default.

| database | everything listed: listings | $ a day | new objects listed: listings | reads | $ a day | by name: listings | reads | $ a day |
|---|---|---|---|---|---|---|---|---|
";

const TAIL: &str = "
Of the listings of an idle database, all are those of everything, each hour, which notice deleted objects (`reconcile-interval`).
Replicas of Litestream 0.3, and those in directories and on SFTP and WebDAV servers, are listed by each look.

## How a look does without a listing

Level 0 has one object for each TXID, so that the name of the next one is known. A look asks for the first 100 bytes of the one
that Litestream wrote last beside the database, which its metadata directory says; where that is not there, or does not show, for
those before it, or for the ones that follow the newest known. The answer is the header of the file: the same bytes that prove
how far the replica is when it was listed. Where nothing is new, the header of the newest known file is read again.

| a look by name | says | does not say |
|---|---|---|
| finds a file | it is there, and how far in the WAL it reaches: its commits are in the bucket, and lag is as exact as with a listing | that all those before it are there, unless each was asked for (up to three are) |
| finds nothing new | the newest known file is still there, with the same header: the replica is as far as it was | that no other object was deleted since the last listing |
| fails | nothing: the look failed | |

Lag therefore advances with each look. **The recovery point waits**: it does not pass a file that was not seen, until the next
listing shows all of them, or a hole. New objects are listed

- `listing-interval` after the last listing, when something is new or Litestream has written more than the replica shows;
- each `idle-interval`, when nothing beside the database says how far Litestream is (an agent that sees the bucket alone);
- at once, when the replica does not restore, its newest file is gone, another, or not what its name says, or the store refuses to
  say whether there is a next one (S3 does so to those who may not list).
";

fn row(table: &mut String, name: &str, [all, new, named]: [Bill; 3]) {
    let dollars = |bill: Bill| format!("{:.4}", bill.dollars());
    let (everything, before, now) = (dollars(all), dollars(new), dollars(named));
    let (lists, reads) = ((all.lists, new.lists, named.lists), (new.reads, named.reads));
    writeln!(
        table,
        "| {name} | {} | {everything} | {} | {} | {before} | {} | {} | {now} |",
        lists.0, lists.1, reads.0, lists.2, reads.1
    )
    .unwrap();
}

#[test]
fn what_watching_costs() {
    let databases = [
        ("idle", None),
        ("written every 10 minutes", Some(600)),
        ("every 15 seconds", Some(15)),
        ("every second", Some(1)),
    ];
    let bills = thread::scope(|scope| {
        let days = databases.map(|(_, every)| {
            [How::Everything, How::Listing, How::ByName].map(|how| scope.spawn(move || day(every, how)))
        });
        days.map(|days| days.map(|day| day.join().unwrap()))
    });
    let mut table = HEAD.to_owned();
    databases.iter().zip(bills).for_each(|((name, _), bills)| row(&mut table, name, bills));
    table += TAIL;
    // Each hour everything is listed: five levels at most, the folders, and those once more at the beginning.
    let [idle, ..] = bills;
    assert!(idle[2].lists <= 24 * 7, "{idle:?}");
    for (bills, [before, everything]) in bills.iter().zip([[1.5, 200.0], [1.0, 40.0], [3.5, 13.0], [4.0, 12.0]]) {
        let [all, listing, named] = bills.map(Bill::dollars);
        assert!(listing > before * named && all > everything * named, "{bills:?}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(DOCUMENT).unwrap_or_default(), table, "run with UPDATE=1 and read what changed");
}
