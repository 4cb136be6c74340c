//! What is said of all databases together. It is made of parts, so that only those parts are gone through again in which
//! something changed.

use jiff::Timestamp;

use super::{DatabaseReport, ReplicaReport};

/// Of all replicas of several databases.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// The largest lag that is known, in seconds.
    pub largest_lag_seconds: Option<f64>,
    /// The oldest that is known.
    pub oldest_recovery_point: Option<Timestamp>,
    /// The oldest that is known.
    pub oldest_verified: Option<Timestamp>,
}

impl Totals {
    /// Of some databases.
    pub fn of<'a>(databases: impl Iterator<Item = &'a DatabaseReport>) -> Self {
        let mut all = Self::default();
        for database in databases {
            for ReplicaReport { lag_seconds, recovery_point, verified_at, .. } in &database.replicas {
                let lag = lag_seconds.filter(|lag| !lag.is_nan());
                all.largest_lag_seconds = largest(all.largest_lag_seconds, lag);
                all.oldest_recovery_point = oldest(all.oldest_recovery_point, *recovery_point);
                all.oldest_verified = oldest(all.oldest_verified, *verified_at);
            }
        }
        all
    }

    /// Of these and others.
    pub fn and(self, other: Self) -> Self {
        Self {
            largest_lag_seconds: largest(self.largest_lag_seconds, other.largest_lag_seconds),
            oldest_recovery_point: oldest(self.oldest_recovery_point, other.oldest_recovery_point),
            oldest_verified: oldest(self.oldest_verified, other.oldest_verified),
        }
    }
}

fn largest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    [one, other].into_iter().flatten().max_by(f64::total_cmp)
}

fn oldest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}
