//! Faults of the demo, on demand: one table, from which help text and peer are derived.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};

use streamgauge_testkit::replica::{COMPACTED, FileId, RAW, SNAPSHOT};

use super::peer::Peer;
use crate::domain::human::counted;
use crate::domain::reason::Reason;

/// One way to break replication.
pub struct Fault {
    pub name: &'static str,
    /// How the fault breaks replication.
    pub does: &'static str,
    /// How the fault shows in metrics and checks.
    pub noticed: &'static str,
    /// Does it and says what was done; `None` when there is nothing to break yet.
    pub(super) apply: fn(&mut Peer) -> Result<Option<String>, Reason>,
}

pub static FAULTS: &[Fault] = &[
    Fault {
        name: "stall",
        does: "the replicator freezes, the writer goes on",
        noticed: "lag grows from the first unproven commit, unreplicated bytes with it",
        apply: |peer| {
            peer.replicator.abilities.follow = false;
            Ok(Some("the replicator is frozen".to_owned()))
        },
    },
    Fault {
        name: "upload",
        does: "uploads stop, the replicator's local files go on",
        noticed: "as with stall; the local TXID runs ahead of the replica's",
        apply: |peer| {
            peer.replicator.abilities.upload = false;
            Ok(Some("uploads have stopped".to_owned()))
        },
    },
    Fault {
        name: "gap",
        does: "a level-0 file vanishes before a higher level holds it",
        noticed: "one gap that no level bridges, and a recovery point that stays before it",
        apply: gap,
    },
    Fault {
        name: "corrupt",
        does: "a byte in the header of each new file is flipped",
        noticed: "the newest file cannot be read, so nothing newer is proven and lag grows",
        apply: |peer| {
            peer.replicator.abilities.damage = Some(|bytes| bytes[4] ^= 0x40);
            Ok(Some("each new file has a flipped bit at offset 4".to_owned()))
        },
    },
    Fault {
        name: "truncate",
        does: "only the first 64 bytes of each new file arrive",
        noticed: "files shorter than any LTX file, so nothing newer is proven and lag grows",
        apply: |peer| {
            peer.replicator.abilities.damage = Some(|bytes| bytes.truncate(64));
            Ok(Some("each new file is cut at 64 bytes".to_owned()))
        },
    },
    Fault {
        name: "delete-snapshot",
        does: "the snapshots and everything else that a restore can start from are deleted",
        noticed: "nothing can be restored, although the newest commits are in the replica",
        apply: |peer| delete(peer, |file| file.level == SNAPSHOT || file.min == 1),
    },
    Fault {
        name: "empty",
        does: "the replica is emptied, and new files keep arriving",
        noticed: "nothing can be restored, although the newest commits are in the replica",
        apply: |peer| delete(peer, |_| true),
    },
    Fault {
        name: "unreadable",
        does: "the replica's directory is renamed, and a file takes its name",
        noticed: "the replica is down and proof age grows; lag stays at its last known value",
        apply: |peer| {
            peer.replicator.abilities.upload = false;
            let replica = peer.replicator.directory();
            let away = away(replica);
            fs::rename(replica, &away).map_err(|error| Reason::from(error).context("rename replica"))?;
            // Without it there would be no replica, and not one that cannot be read.
            fs::write(replica, "").map_err(|error| Reason::from(error).context("write a file in its place"))?;
            Ok(Some(format!("the replica is now at {}", away.display())))
        },
    },
    Fault {
        name: "idle",
        does: "the writer stops, replication works",
        noticed: "nothing: an idle database has no lag",
        apply: |peer| {
            peer.writes = false;
            Ok(Some("the writer has stopped".to_owned()))
        },
    },
];

/// The values that `--fault` accepts, with their help.
pub fn possible_values() -> PossibleValuesParser {
    FAULTS.iter().map(|fault| PossibleValue::new(fault.name).help(format!("{} → {}", fault.does, fault.noticed))).into()
}

/// Where a replica is that was renamed away.
fn away(replica: &Path) -> PathBuf {
    replica.with_extension("away")
}

/// Ends every fault, as whoever repairs it.
pub(super) fn end(peer: &mut Peer) -> Result<(), Reason> {
    peer.writes = true;
    let replica = peer.replicator.directory();
    let away = away(replica);
    if away.exists() {
        if replica.is_file() {
            fs::remove_file(replica).map_err(|error| Reason::from(error).context("remove the file in its place"))?;
        }
        fs::rename(&away, replica).map_err(|error| Reason::from(error).context("rename replica"))?;
    }
    Ok(peer.replicator.recover()?)
}

fn gap(peer: &mut Peer) -> Result<Option<String>, Reason> {
    // Either would bridge the gap.
    peer.replicator.abilities.compact = false;
    peer.replicator.abilities.snapshot = false;
    let files = peer.replicator.files();
    let covered = files.files().filter(|file| file.level != RAW).map(|file| file.max).max().unwrap_or(0);
    let mut only_raw = files.level(RAW);
    only_raw.retain(|file| file.min > covered);
    let [_, middle, _, ..] = only_raw[..] else { return Ok(None) };
    peer.replicator.lose(middle)?;
    Ok(Some(format!("level {RAW} lost TXID {:016x}", middle.min)))
}

fn delete(peer: &mut Peer, which: fn(&FileId) -> bool) -> Result<Option<String>, Reason> {
    // A new snapshot would make all well again.
    peer.replicator.abilities.snapshot = false;
    let doomed: Vec<FileId> = peer.replicator.files().files().filter(which).collect();
    for &file in &doomed {
        peer.replicator.lose(file)?;
    }
    let level = |level| doomed.iter().filter(|file| file.level == level).count();
    let [raw, compacted, snapshots] = [RAW, COMPACTED, SNAPSHOT].map(level);
    let (snapshots, compacted, raw) =
        (counted(snapshots, "snapshot"), counted(compacted, "compacted file"), counted(raw, "level-0 file"));
    Ok(Some(format!("deleted {snapshots}, {compacted}, {raw}")))
}
