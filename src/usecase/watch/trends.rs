//! How one database and its filesystems develop.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::assess::sizing::{AHEAD_SECONDS, Sizing};
use crate::domain::assess::trend::{SIZE, SPACE, Trend, WRITES};
use crate::domain::observation::{DatabaseLook, DatabasePosture, Journal};

/// How the database and its filesystems develop over hours and weeks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Trends {
    size: Trend,
    /// Of write transactions counted, restarts included.
    commits: Trend,
    counted: u64,
    /// The agent's own counter when it was last read; absent after a restart.
    #[serde(skip)]
    baseline: Option<u64>,
    pub(super) used: Trend,
    pub(super) staging_used: Trend,
    /// The salts of the WAL and when they were first seen.
    pub(super) wal: Option<(u32, u32, Timestamp)>,
}

impl Trends {
    pub(super) fn observe(&mut self, look: &DatabaseLook) {
        let now = look.at.wall();
        let commits = look.counters.commits;
        self.counted += self.baseline.replace(commits).map_or(0, |before| commits.saturating_sub(before));
        self.size.record(now, look.size_bytes as f64, &SIZE);
        self.commits.record(now, self.counted as f64, &WRITES);
        if let Journal::Wal(wal) = &look.journal {
            let (salt1, salt2) = (wal.position.salt1, wal.position.salt2);
            if self.wal.is_none_or(|(one, other, _)| (one, other) != (salt1, salt2)) {
                self.wal = Some((salt1, salt2, now));
            }
        }
    }

    pub(super) fn observe_posture(&mut self, posture: &DatabasePosture) {
        if let Some(space) = posture.filesystem {
            self.used.record(posture.at.wall(), space.used_bytes as f64, &SPACE);
        }
        if let Some(space) = &posture.staging_filesystem {
            self.staging_used.record(posture.at.wall(), space.used_bytes as f64, &SPACE);
        }
    }

    pub(super) fn sizing(&self, look: &DatabaseLook) -> Sizing {
        let growth = self.size.growth(&SIZE);
        Sizing {
            projected_size_bytes: growth.map(|growth| look.size_bytes as f64 + growth * AHEAD_SECONDS),
            write_transactions_per_second: self.commits.growth(&WRITES),
        }
    }
}
