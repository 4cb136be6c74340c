//! The faults, as scripts, and what is expected of them.

use std::time::Duration;

use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::{LitestreamVersion, Objectives};
use streamgauge::usecase::ports::Pace;
use streamgauge_testkit::replica::{FileId, RAW, SNAPSHOT};

use crate::peer::{Daemon, Settings};
use crate::world::{Bucket, Event, Site, World};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// When the fault happens, unless there is a reason for another time: no other thing happens at this second.
const FAULT: i64 = 20 * MINUTE + 7;

/// When an idle database was compacted to level 3, whose one file has all its pages.
const COMPACTED: i64 = 70 * MINUTE + 7;

/// An alert: the check and `critical`, `warning` or `info`.
pub(crate) type Expected = (&'static str, &'static str);

pub(crate) struct Scenario {
    /// The fault, as the document names it; the `instance` label.
    pub(crate) name: &'static str,
    pub(crate) minutes: i64,
    /// `None`: there is none, and nothing may fire.
    pub(crate) fault: Option<i64>,
    pub(crate) events: &'static [Event],
    /// Everything that fires.
    pub(crate) detected: &'static [Expected],
    /// What one could expect to fire, and rightly does not.
    pub(crate) silent: &'static [&'static str],
    /// What Prometheus says and the engine does not, because only one of them has the right clock.
    pub(crate) prometheus_alone: &'static [&'static str],
    pub(crate) remark: &'static str,
}

const NOTHING: Scenario = Scenario {
    name: "",
    minutes: 80,
    fault: Some(FAULT),
    events: &[],
    detected: &[],
    silent: &[],
    prometheus_alone: &[],
    remark: "",
};

impl Scenario {
    pub(crate) fn site(&self) -> Site {
        let mut objectives = Objectives::default();
        match self.name {
            "retention key forgotten" => objectives.retention = Some(Duration::from_secs(720 * 3600)),
            "writer newer than restorer" => {
                objectives.restorer = Some(LitestreamVersion { major: 0, minor: 5, patch: 15 });
            }
            _ => {}
        }
        // What is short has to be seen between two evaluations; elsewhere the default would only take longer to compute.
        let poll = Duration::from_secs(if self.name.starts_with("agent killed") { 1 } else { 15 });
        Site {
            objectives,
            pace: Pace { poll, ..Pace::default() },
            observer: self.name.contains("observer"),
            ..Site::default()
        }
    }
}

fn writes(world: &mut World) {
    world.peer.writes_every = Some(15);
}

/// What is there stays for long.
fn seldom(world: &mut World) {
    world.peer.writes_every = Some(15 * MINUTE);
}

/// Snapshots every ten minutes, of which one is kept.
fn pruned(world: &mut World) {
    world.peer.settings = Settings { snapshot: 10 * MINUTE, retention: MINUTE, ..Settings::default() };
}

fn newest_snapshot(world: &World) -> FileId {
    FileId::new(SNAPSHOT, 1, world.peer.replica.newest(SNAPSHOT))
}

fn newest_raw(world: &World) -> FileId {
    FileId::raw(world.peer.replica.newest(RAW))
}

const LAG: Expected = ("ReplicationLag", "critical");
const UNVERIFIABLE: Expected = ("ReplicaUnverifiable", "warning");
const UNVERIFIABLE_WAITING: Expected = ("ReplicaUnverifiable", "critical");
const CORRUPT: Expected = ("ReplicaCorrupt", "critical");
const ERRORS: Expected = ("StoreErrors", "warning");
const DOWN: Expected = ("LitestreamDown", "warning");
const DOWN_FOR_LONG: Expected = ("LitestreamDown", "critical");
const EMPTY: Expected = ("NeverReplicated", "critical");
const NO_START: Expected = ("NotRestorable", "critical");
const GAP: Expected = ("ReplicaGap", "critical");
const DIFFERS: Expected = ("ContentMismatch", "critical");
const LAG_UNKNOWN: Expected = ("LagUnknown", "warning");
const LAG_UNKNOWN_AND_COMMITS: Expected = ("LagUnknown", "critical");
const DAMAGED: Expected = ("ReplicaCorrupt", "warning");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "idle, all well", minutes: 180, fault: None, ..NOTHING },
    Scenario { name: "writes, all well", minutes: 120, fault: None, events: &[(60, writes)], ..NOTHING },
    Scenario {
        name: "idle, credentials revoked",
        events: &[(FAULT, |w| w.bucket = Bucket::Fails(ReasonKind::Denied))],
        silent: &["ReplicationLag"],
        detected: &[UNVERIFIABLE, ERRORS],
        ..NOTHING
    },
    Scenario {
        name: "writes, credentials revoked",
        events: &[
            (60, writes),
            (FAULT, |w| {
                w.bucket = Bucket::Fails(ReasonKind::Denied);
                w.peer.daemon = Daemon::UploadsFail;
            }),
        ],
        detected: &[UNVERIFIABLE_WAITING, UNVERIFIABLE, ERRORS],
        ..NOTHING
    },
    Scenario {
        name: "daemon killed, database idle",
        minutes: 90,
        events: &[(FAULT, |w| w.peer.stop())],
        silent: &["ReplicationLag"],
        detected: &[DOWN, DOWN_FOR_LONG],
        remark: "nothing is lost while nothing is written: no page in the first hour",
        ..NOTHING
    },
    Scenario {
        name: "daemon killed, database written",
        events: &[(60, writes), (FAULT, |w| w.peer.stop())],
        detected: &[LAG, DOWN],
        ..NOTHING
    },
    Scenario {
        name: "daemon killed and started again after an hour",
        minutes: 100,
        events: &[(60, writes), (FAULT, |w| w.peer.stop()), (FAULT + HOUR, |w| w.peer.start())],
        detected: &[LAG, DOWN],
        ..NOTHING
    },
    Scenario {
        name: "daemon frozen but green",
        events: &[(60, writes), (FAULT, |w| w.peer.daemon = Daemon::Frozen)],
        detected: &[LAG],
        remark: "the process is running: LitestreamDown stays silent",
        ..NOTHING
    },
    Scenario {
        name: "uploads fail, metrics green",
        events: &[(60, writes), (FAULT, |w| w.peer.daemon = Daemon::UploadsFail)],
        detected: &[LAG],
        ..NOTHING
    },
    Scenario {
        name: "prefix emptied under a running daemon, idle",
        events: &[(FAULT, |w| w.peer.empty())],
        detected: &[EMPTY, LAG, CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "prefix emptied under a running daemon, written",
        minutes: 75,
        events: &[(60, writes), (FAULT, |w| w.peer.empty())],
        detected: &[LAG, GAP, NO_START, CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "level 0 emptied, then restart",
        events: &[
            (60, writes),
            (FAULT, |w| {
                w.peer.stop();
                w.peer.replica.level(0).into_iter().for_each(|file| w.peer.delete(file));
                w.peer.start();
            }),
        ],
        detected: &[LAG, CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "tail of the chain lost",
        minutes: 60,
        events: &[
            (60, writes),
            (FAULT, |w| {
                w.peer.writes_every = None;
                let newest = newest_raw(w);
                w.peer.delete(newest);
            }),
        ],
        detected: &[LAG, CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "hole in the middle, bridged",
        minutes: 110,
        events: &[
            (60, writes),
            (FAULT, |w| {
                let oldest = w.peer.replica.level(0)[1];
                w.peer.delete(oldest);
            }),
        ],
        silent: &["ReplicaGap", "ReplicationLag"],
        remark: "everything still restores",
        ..NOTHING
    },
    Scenario {
        name: "hole in the middle, not bridged",
        minutes: 110,
        events: &[
            (60, writes),
            (FAULT, |w| {
                let newest = newest_raw(w);
                w.peer.delete(newest);
            }),
        ],
        detected: &[GAP, LAG, CORRUPT, DAMAGED],
        remark: "here the newest file; an older one is missed when everything is listed, within an hour",
        ..NOTHING
    },
    Scenario {
        name: "newest snapshot deleted, chain from the first file whole",
        minutes: 110,
        events: &[
            (60, writes),
            (FAULT, |w| {
                let newest = newest_snapshot(w);
                w.peer.delete(newest);
                w.peer.settings.snapshot = i64::MAX;
            }),
        ],
        silent: &["NotRestorable"],
        detected: &[DAMAGED],
        remark: "everything still restores: a ticket reports that an object vanished",
        ..NOTHING
    },
    Scenario {
        name: "newest snapshot deleted, chain pruned",
        minutes: 130,
        events: &[
            (1, pruned),
            (60, writes),
            (FAULT, |w| {
                let newest = newest_snapshot(w);
                w.peer.delete(newest);
                w.peer.settings.snapshot = i64::MAX;
            }),
        ],
        detected: &[NO_START, GAP, LAG, CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "object truncated",
        minutes: 100,
        events: &[
            (60, writes),
            (FAULT, |w| {
                let file = newest_snapshot(w);
                w.peer.damage(file, false, |bytes| bytes.truncate(bytes.len() / 2));
            }),
        ],
        detected: &[CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "object zeroed",
        minutes: 100,
        events: &[
            (60, writes),
            (FAULT, |w| {
                let file = newest_snapshot(w);
                w.peer.damage(file, true, |bytes| bytes.fill(0));
            }),
        ],
        detected: &[CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "bit flipped in a new object",
        events: &[
            (60, writes),
            (FAULT, |w| {
                let file = newest_raw(w);
                w.peer.damage(file, true, |bytes| bytes[2000] ^= 1);
            }),
        ],
        detected: &[CORRUPT, DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "bit flipped in an object that was read before",
        minutes: 300,
        fault: Some(COMPACTED),
        events: &[(COMPACTED, |w| {
            let file = w.peer.replica.level(3)[0];
            // In the frame of page 40.
            w.peer.damage(file, false, |bytes| bytes[162_000] ^= 1);
        })],
        detected: &[DIFFERS, CORRUPT, DAMAGED],
        remark: "neither size nor date has changed, and nothing is written. A round of spot checks compares 16 of the 64 pages: one rotten page is found within an hour with a probability of 25 %, within 12 hours with 97 %; whatever the size, each object is read again within 36 hours as far as a quarter of the budget allows, half of them within 24",
        ..NOTHING
    },
    Scenario {
        name: "object renamed",
        events: &[
            (60, writes),
            (FAULT, |w| {
                let file = newest_raw(w);
                w.peer.writes_every = None;
                w.peer.rename(file, FileId { max: file.max + 1, ..file });
            }),
        ],
        detected: &[CORRUPT, DAMAGED, LAG_UNKNOWN_AND_COMMITS, LAG_UNKNOWN],
        silent: &["ReplicaUnverifiable"],
        remark: "the files before it show how far the replica has got, until compaction removes them",
        ..NOTHING
    },
    Scenario {
        name: "two daemons on one replica",
        events: &[(60, writes), (FAULT, |w| w.peer.intruder = true)],
        detected: &[LAG],
        remark: "seen as lag, since the newest object is not what this database wrote; LineageConflict needs an object that the agent read before it was replaced, and here it is replaced within a second",
        ..NOTHING
    },
    Scenario {
        name: "database restored to an older state",
        minutes: 110,
        events: &[
            (60, writes),
            (FAULT, |w| w.peer.stop()),
            (FAULT + 30, |w| w.peer.restore_file()),
            (FAULT + 60, |w| {
                w.peer.start();
                seldom(w);
            }),
        ],
        detected: &[DIFFERS],
        remark: "written only every 15 minutes from then on, because a page that is written again is right again. Its -wal stays beside it, as with cp: Litestream goes on as if nothing had happened. One round of spot checks finds it, and there is one every hour",
        ..NOTHING
    },
    Scenario {
        name: "database restored to an older state, and its WAL removed",
        minutes: 110,
        events: &[
            (60, writes),
            (FAULT, |w| w.peer.stop()),
            (FAULT + 30, |w| w.peer.restore_older()),
            (FAULT + 60, |w| w.peer.start()),
        ],
        silent: &["ContentMismatch", "ReplicationLag"],
        remark: "Litestream notices and goes on with a full image: the replica matches the database as it is now, which spot checks confirm, and the earlier states stay restorable until retention deletes them",
        ..NOTHING
    },
    Scenario {
        name: "replica of another history",
        minutes: 110,
        events: &[
            (60, writes),
            (FAULT, |w| {
                w.peer.swap_history();
                seldom(w);
            }),
        ],
        detected: &[("LineageConflict", "critical"), DIFFERS],
        remark: "the files of another database with the same TXIDs, to which Litestream keeps adding. An agent that has read the earlier files knows that they were replaced; the content is compared every hour",
        ..NOTHING
    },
    Scenario {
        name: "replica of another history from before the agent started",
        minutes: 110,
        events: &[
            (0, |w| w.agent = false),
            (60, writes),
            (FAULT, |w| {
                w.peer.swap_history();
                seldom(w);
                w.agent = true;
            }),
        ],
        detected: &[DIFFERS],
        remark: "only the content shows it. The first round of spot checks comes within ten minutes, and one is enough",
        ..NOTHING
    },
    Scenario {
        name: "wrong letter under a correct checksum",
        minutes: 300,
        fault: Some(COMPACTED),
        events: &[(COMPACTED, |w| {
            let file = w.peer.replica.level(3)[0];
            w.peer.forge(file, |page| page == 40);
        })],
        detected: &[DIFFERS, ("LineageConflict", "critical")],
        remark: "one page of 64, and nothing is written: found within an hour with a probability of 25 %, within 12 hours with 97 %; a restore drill is certain to find it. Then the object is read again, and an agent that has read it before sees that it was replaced",
        ..NOTHING
    },
    Scenario {
        name: "database replaced under a running Litestream",
        events: &[(60, writes), (FAULT, |w| w.peer.replace())],
        silent: &["ReplicationLag"],
        detected: &[("DatabaseReplaced", "critical"), ("LagUnknown", "warning")],
        remark: "the WAL goes on as if nothing had happened; lag is unknown from then on, and the recovery point stands still. Nobody is notified of LagUnknown, which DatabaseReplaced inhibits",
        ..NOTHING
    },
    Scenario {
        name: "VACUUM",
        events: &[(60, writes), (FAULT, |w| w.peer.vacuum())],
        silent: &["ReplicationLag", "LineageConflict"],
        remark: "nothing is wrong",
        ..NOTHING
    },
    Scenario {
        name: "checkpoint by another process",
        events: &[(60, writes), (FAULT, |w| w.peer.checkpoint_by_another())],
        silent: &["ReplicationLag", "ReplicaGap"],
        remark: "nothing is lost while Litestream runs",
        ..NOTHING
    },
    Scenario {
        name: "WAL deleted while the daemon is down",
        events: &[
            (60, writes),
            (FAULT, |w| w.peer.stop()),
            (FAULT + 60, |w| {
                w.peer.writes_every = None;
                w.peer.close();
            }),
        ],
        detected: &[LAG, DOWN],
        ..NOTHING
    },
    Scenario {
        name: "bucket says deleted but keeps objects",
        minutes: 540,
        events: &[(60, |w| w.peer.writes_every = Some(120)), (FAULT, |w| w.peer.deletes_are_lies = true)],
        detected: &[("RetentionNotEnforced", "warning")],
        remark: "a ticket: retention may be six hours late before anything counts as kept too long",
        ..NOTHING
    },
    Scenario {
        name: "retention key forgotten",
        minutes: 320,
        fault: Some(0),
        events: &[(1, |w| {
            w.peer.settings = Settings { snapshot: HOUR, retention: HOUR, ..Settings::default() };
            w.peer.writes_every = Some(120);
        })],
        detected: &[("RetentionTooShort", "warning"), ("RecoveryWindowShort", "warning")],
        remark: "what Litestream is told to keep is known at once, before anything is gone",
        ..NOTHING
    },
    Scenario {
        name: "runaway full-size level-0 files",
        minutes: 150,
        events: &[(60, |w| w.peer.writes_every = Some(120)), (FAULT, |w| w.peer.runaway = true)],
        detected: &[("ReplicaRunaway", "warning")],
        ..NOTHING
    },
    Scenario {
        name: "the same page committed and uploaded every second",
        minutes: 110,
        events: &[(FAULT, |w| {
            w.peer.same_pages = true;
            w.peer.write_pages = 1;
            w.peer.writes_every = Some(1);
        })],
        detected: &[("ReplicaChurn", "warning")],
        silent: &["ReplicaRunaway", "ReplicationLag"],
        remark: "as Litestream 0.5.5 does on an idle database; an application that does so raises the same alert",
        ..NOTHING
    },
    Scenario {
        name: "database can no longer be compared, written",
        minutes: 60,
        events: &[(60, writes), (FAULT, |w| w.peer.headers_say_nothing = true)],
        detected: &[LAG_UNKNOWN_AND_COMMITS, LAG_UNKNOWN],
        silent: &["ReplicationLag", "ReplicaUnverifiable"],
        remark: "everything can be read, but nothing says how far the replica has got",
        ..NOTHING
    },
    Scenario {
        name: "writer newer than restorer",
        fault: Some(0),
        events: &[(60, writes)],
        detected: &[DAMAGED],
        ..NOTHING
    },
    Scenario {
        name: "long reader starves checkpoints",
        minutes: 90,
        events: &[
            (60, writes),
            (FAULT, |w| {
                w.peer.reader = Some(1);
                w.peer.write_pages = 2000;
            }),
        ],
        detected: &[("CheckpointStarved", "warning")],
        ..NOTHING
    },
    Scenario {
        name: "disk full",
        minutes: 150,
        events: &[
            (60, writes),
            (FAULT, |w| w.peer.disk_eaten = 10 << 20),
            (FAULT + 6144, |w| {
                w.peer.writes_every = None;
                w.peer.daemon = Daemon::Frozen;
            }),
        ],
        detected: &[("DiskFilling", "warning"), ("DiskFullSoon", "critical")],
        ..NOTHING
    },
    Scenario {
        name: "clock of the host ahead by ten minutes",
        events: &[(60, writes), (FAULT, |w| (w.agent_ahead, w.peer.clock_ahead) = (600, 600))],
        detected: &[("ClockSkew", "warning")],
        ..NOTHING
    },
    Scenario {
        name: "clock of the host behind by ten minutes",
        events: &[(60, writes), (FAULT, |w| (w.agent_ahead, w.peer.clock_ahead) = (-600, -600))],
        detected: &[("ClockSkew", "warning")],
        prometheus_alone: &["CollectorStuck"],
        remark: "Prometheus, whose clock is right, considers the times that the agent reports to be late, and fires CollectorStuck as well",
        ..NOTHING
    },
    Scenario {
        name: "store slow",
        events: &[(60, writes), (FAULT, |w| w.bucket = Bucket::Slow(Duration::from_secs(8)))],
        silent: &["ReplicationLag", "ReplicaUnverifiable"],
        remark: "8 s for each answer: everything is still verified in time",
        ..NOTHING
    },
    Scenario {
        name: "store throttling nine of ten requests",
        events: &[(60, writes), (FAULT, |w| w.bucket = Bucket::FailsAtTimes(ReasonKind::Throttled, 90))],
        detected: &[UNVERIFIABLE_WAITING, UNVERIFIABLE, ERRORS],
        ..NOTHING
    },
    Scenario {
        name: "store half-open",
        events: &[(60, writes), (FAULT, |w| w.bucket = Bucket::HalfOpen)],
        detected: &[UNVERIFIABLE_WAITING, UNVERIFIABLE, ERRORS],
        ..NOTHING
    },
    Scenario {
        name: "store resetting connections",
        events: &[(60, writes), (FAULT, |w| w.bucket = Bucket::Fails(ReasonKind::Unreachable))],
        detected: &[UNVERIFIABLE_WAITING, UNVERIFIABLE, ERRORS],
        ..NOTHING
    },
    Scenario {
        name: "agent killed again and again while the daemon is down",
        events: &[
            (60, writes),
            (FAULT, |w| w.peer.stop()),
            // While it is pending…
            (FAULT + 5 * MINUTE + 39, |w| w.agent = false),
            (FAULT + 5 * MINUTE + 45, |w| w.agent = true),
            // …and twice while it fires.
            (FAULT + 20 * MINUTE, |w| w.agent = false),
            (FAULT + 20 * MINUTE + 6, |w| w.agent = true),
            (FAULT + 40 * MINUTE, |w| w.agent = false),
            (FAULT + 40 * MINUTE + 6, |w| w.agent = true),
        ],
        detected: &[LAG, DOWN],
        remark: "killed while pending and twice while firing, each time for six seconds: hold times continue",
        ..NOTHING
    },
    Scenario {
        name: "host gone, seen by an observer without a beacon",
        events: &[(60, writes), (FAULT, |w| w.peer.stop())],
        remark: "not detected: without new objects, it could just as well be an idle database; the lag is unknown, never a pass",
        ..NOTHING
    },
    Scenario {
        name: "host gone, seen by an observer with a beacon",
        events: &[
            (0, |w| w.beacons = true),
            (60, writes),
            (FAULT, |w| {
                w.peer.stop();
                w.beacons = false;
            }),
        ],
        detected: &[("HostGone", "critical"), LAG_UNKNOWN],
        remark: "nobody is notified of LagUnknown, which HostGone inhibits",
        ..NOTHING
    },
    Scenario {
        name: "daemon frozen, agent beside it mute, seen by an observer with a beacon",
        events: &[
            (0, |w| w.beacons = true),
            (60, writes),
            (FAULT, |w| {
                w.peer.daemon = Daemon::Frozen;
                w.beacon_waits = Some(FAULT + 8);
            }),
        ],
        detected: &[LAG],
        silent: &["HostGone"],
        remark: "the agent beside the database cannot notify anybody, but writes it into the beacon",
        ..NOTHING
    },
    Scenario {
        name: "host gone, its beacon from the future, seen by an observer",
        events: &[
            (0, |w| w.beacons = true),
            (60, writes),
            (FAULT, |w| {
                w.peer.stop();
                w.store_ahead = 30 * 86_400;
            }),
            (FAULT + 120, |w| w.beacons = false),
        ],
        detected: &[("HostGone", "critical"), LAG_UNKNOWN],
        remark: "the last beacons are dated a month ahead: that does not make them fresh for a month",
        ..NOTHING
    },
    Scenario {
        name: "idle host with a beacon, seen by an observer",
        events: &[(0, |w| w.beacons = true)],
        fault: None,
        silent: &["HostGone", "ReplicationLag"],
        ..NOTHING
    },
    Scenario {
        name: "bucket opened to everybody, without versions",
        minutes: 150,
        events: &[(FAULT, |w| {
            w.posture.public = Some(true);
            w.posture.versioning_enabled = Some(false);
        })],
        detected: &[("BucketPublic", "critical"), ("BucketVersioningOff", "warning")],
        remark: "buckets are asked once a day, or, until they answer, once an hour, as here",
        ..NOTHING
    },
];
