//! What of a replica is safe, and what of its database is not.

use jiff::Timestamp;

use super::{ReplicaReport, SpotReport, VerificationReport};
use crate::domain::human::{bytes, duration};

impl ReplicaReport {
    /// The latest state does not restore, whatever has been uploaded: nothing does, an object that it needs is damaged, or a
    /// drill has shown it.
    pub fn is_broken(&self) -> bool {
        let nothing = self.coverage.as_ref().is_some_and(|coverage| !coverage.restorable);
        nothing || self.is_damaged() || self.drill.as_ref().is_some_and(|drill| drill.history.did_not_restore())
    }

    /// An object that the latest state needs is damaged, or gone.
    pub fn is_damaged(&self) -> bool {
        self.verification.as_ref().is_some_and(|found| found.needed_damaged().next().is_some())
    }

    /// The time before which every commit can be restored; `None` where that is not known, or the latest state is broken.
    pub fn safe_until(&self) -> Option<Timestamp> {
        self.recovery_point.filter(|_| !self.is_broken())
    }

    /// As [`Self::safe_until`], or, where every look found the database ahead of the replica so that nothing is proven, the time
    /// of the newest object: what was committed before is in it.
    pub fn safe_at_least(&self) -> Option<Timestamp> {
        // A bound of the lag without a recovery point counts from there.
        let bounded = self.recovery_point.is_none() && self.lag_upper_bound_seconds.is_some() && !self.is_broken();
        self.safe_until().or_else(|| self.last_segment_at.filter(|_| bounded))
    }

    /// How far it is behind, for a person, as in `at most 6m 50s`.
    pub fn lag_words(&self) -> Option<String> {
        let lag = self.lag_seconds?;
        let most = self.lag_upper_bound_seconds.filter(|most| *most > lag);
        Some(most.map_or_else(|| duration(lag), |most| format!("at most {}", duration(most))))
    }

    /// Committed bytes that would be lost; `None` where that is not known, which is more where the latest state is broken.
    pub fn at_risk(&self) -> Option<u64> {
        self.unreplicated_bytes.filter(|_| self.lag_seconds.is_some() && !self.is_broken())
    }

    /// It was listed, and nothing is there.
    pub fn is_empty(&self) -> bool {
        self.coverage.as_ref().is_some_and(|coverage| coverage.is_empty())
    }

    /// What would be lost, for a person, as in `at least 20.1 KiB`; that it is at least nothing says nothing.
    pub fn at_risk_words(&self) -> Option<String> {
        if self.is_empty() {
            return Some("everything".to_owned());
        }
        let (at_risk, bound) = (self.at_risk()?, self.unreplicated_bytes_lower_bound);
        match (bound, bytes(at_risk)) {
            (true, _) if at_risk == 0 => None,
            (true, size) => Some(format!("at least {size}")),
            (false, size) => Some(size),
        }
    }

    /// What reading its objects showed, once one was read or is known to be gone.
    pub fn read_objects(&self) -> Option<&VerificationReport> {
        let read = |report: &VerificationReport| report.structure_verified > 0 || !report.findings.is_empty();
        self.verification.as_deref().filter(|report| read(report))
    }

    /// Its spot checks, where pages are to be compared with a live database.
    pub fn compared(&self) -> Option<&SpotReport> {
        self.spot.as_ref().filter(|spot| spot.interval_seconds.is_some())
    }
}
