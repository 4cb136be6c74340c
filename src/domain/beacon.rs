//! The beacon: what an agent beside a database says of itself in the bucket, for agents elsewhere.
//!
//! A bucket alone cannot tell an idle database from a host that is gone. The beacon can: one small object for each
//! replica, written anew at each interval, with what its writer knows of the replica. Whoever reads it takes that for a
//! claim and not for proof.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::limits::BEACON_TEXT_MAX;
use super::reason::Reason;
use super::sqlite::WalPosition;

/// The version of a beacon's text.
pub const SCHEMA: u32 = 1;

/// The replica's place followed by this is the place of its beacon: beside the replica and never below it. Litestream
/// lists, compacts and deletes below the replica's place only, so it neither sees nor removes a beacon, and credentials
/// that may write beacons need no right to write to the replica.
pub const SUFFIX: &str = ".streamgauge/beacon.json";

/// Whether a folder is one that beacons are written to.
pub fn is_folder(name: &str) -> bool {
    SUFFIX.split('/').next().is_some_and(|suffix| name.ends_with(suffix))
}

/// `[beacon]`: that beacons are written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeaconPolicy {
    pub interval: Duration,
    /// Who writes them; this host's name by default.
    pub host: String,
}

/// The content of a beacon. All instants are by the clock of the host that wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BeaconClaim {
    /// The version of the beacon's form.
    pub schema: u32,
    /// When this beacon was written.
    pub written_at: Timestamp,
    /// How long after this beacon the next one is due.
    pub interval_seconds: f64,
    /// The host that wrote it.
    pub host: String,
    /// How the agent on that host calls the database.
    pub database: String,
    /// The version of the agent that wrote it.
    pub version: String,
    /// As in the report of the agent that wrote it, and unknown where it was unknown to that.
    pub recovery_point: Option<Timestamp>,
    /// The age of the oldest unproven commit; 0 when there was none.
    pub lag_seconds: Option<f64>,
    /// When the oldest unproven commit was made; `None` when there was none, or that was not known.
    pub unreplicated_since: Option<Timestamp>,
    /// Committed WAL bytes that were not proven to be in the bucket. Older agents do not say this, nor
    /// `pending_commits`, `position` and `txid`.
    #[serde(default)]
    pub unreplicated_bytes: Option<u64>,
    /// How many commits wait, at least; `None` where they cannot be counted.
    #[serde(default)]
    pub pending_commits: Option<u64>,
    /// Where the database is in its WAL.
    #[serde(default)]
    pub position: Option<WalPosition>,
    /// The newest TXID that Litestream wrote there (v0.5).
    #[serde(default)]
    pub txid: Option<u64>,
}

impl BeaconClaim {
    /// As it is written.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers, instants and texts always serialize.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads what may come from anybody who can write to the bucket. The error says what is wrong with it.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let mut claim: Self = serde_json::from_slice(content).map_err(|_| "not a beacon".to_owned())?;
        if claim.schema != SCHEMA {
            return Err(format!("a beacon of version {}, which this agent cannot read", claim.schema));
        }
        let sane = |seconds: f64| (0.0..=1e9).contains(&seconds);
        if !sane(claim.interval_seconds) || claim.lag_seconds.is_some_and(|lag| !sane(lag)) {
            return Err("a beacon with impossible numbers".to_owned());
        }
        for text in [&mut claim.host, &mut claim.database, &mut claim.version] {
            *text = text.chars().filter(|character| !character.is_control()).take(BEACON_TEXT_MAX).collect();
        }
        Ok(claim)
    }
}

/// A beacon as an observer knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BeaconReport {
    /// When a beacon was last read with success.
    pub read_at: Option<Timestamp>,
    /// When that beacon was written, by the store's clock brought to ours: the writer's clock has no part in it.
    pub written_at: Option<Timestamp>,
    /// When that beacon was written, by the store's own clock.
    pub stored_at: Option<Timestamp>,
    /// What its writer says; `None` until it was read.
    pub claim: Option<BeaconClaim>,
    /// Why no beacon could be read the last time; the rest is then as it was before.
    pub reason: Option<Reason>,
}

/// After so many intervals without a beacon its host counts as gone: two failed and one that was under way.
pub const INTERVALS_MAX: f64 = 4.0;

/// A beacon may be so much younger than now: clocks are compared to the second, and not at every moment.
pub const AHEAD_SECONDS_MAX: f64 = 30.0;

impl BeaconReport {
    /// How old it was when it was read, in seconds; below 0 for one from the future.
    pub fn age_seconds(&self) -> Option<f64> {
        Some(self.read_at?.duration_since(self.written_at?).as_secs_f64())
    }

    /// It came in time when it was last read. One from the future would seem to come in time for ever.
    pub fn is_fresh(&self) -> bool {
        let bound = self.claim.as_ref().map(|claim| INTERVALS_MAX * claim.interval_seconds);
        self.age_seconds().zip(bound).is_some_and(|(age, bound)| (-AHEAD_SECONDS_MAX..=bound).contains(&age))
    }

    /// The claim of its writer, if it can still be believed.
    pub fn fresh_claim(&self) -> Option<&BeaconClaim> {
        self.claim.as_ref().filter(|_| self.reason.is_none() && self.is_fresh())
    }

    /// The lag that its writer claims, plus the age of that claim: commits made since then are not known. `replica` is
    /// where the bucket's newest object ends: what the claim still waits for may have come.
    pub fn lag_seconds(&self, replica: Option<WalPosition>) -> Option<f64> {
        let claim = self.fresh_claim()?;
        let came =
            |source: WalPosition| replica.is_some_and(|there| there.same_wal(&source) && there.end >= source.end);
        let claimed = claim.lag_seconds.map(|lag| if claim.position.is_some_and(came) { 0.0 } else { lag });
        Some(claimed? + self.age_seconds()?.max(0.0))
    }

    /// Since when commits wait, as its writer claims, by our clock.
    pub fn unreplicated_since(&self) -> Option<Timestamp> {
        let claim = self.fresh_claim()?;
        let before: SignedDuration = claim.written_at.duration_since(claim.unreplicated_since?);
        self.written_at?.checked_sub(before).ok()
    }

    /// The writer's clock against the store's: positive when it is ahead.
    pub fn writer_offset_seconds(&self) -> Option<f64> {
        Some(self.claim.as_ref()?.written_at.duration_since(self.stored_at?).as_secs_f64())
    }

    /// The recovery point that its writer claims, by our clock.
    pub fn recovery_point(&self) -> Option<Timestamp> {
        let claim = self.claim.as_ref()?;
        let before: SignedDuration = claim.written_at.duration_since(claim.recovery_point?);
        self.written_at?.checked_sub(before).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn claim() -> BeaconClaim {
        BeaconClaim {
            schema: SCHEMA,
            written_at: at(0),
            interval_seconds: 60.0,
            host: "db1".into(),
            database: "app".into(),
            version: "1.2.3".into(),
            recovery_point: Some(at(-5)),
            lag_seconds: Some(0.0),
            unreplicated_since: None,
            unreplicated_bytes: Some(0),
            pending_commits: Some(0),
            position: Some(WalPosition { salt1: 1, salt2: 2, end: 4152 }),
            txid: Some(7),
        }
    }

    #[test]
    fn what_an_older_agent_writes_is_read() {
        let text = r#"{"schema": 1, "written_at": "2026-01-01T00:00:00Z", "interval_seconds": 60.0, "host": "db1",
            "database": "app", "version": "0.1.0", "recovery_point": null, "lag_seconds": 2.5, "unreplicated_since": null}"#;
        let claim = BeaconClaim::parse(text.as_bytes()).unwrap();
        assert_eq!((claim.lag_seconds, claim.pending_commits, claim.position), (Some(2.5), None, None));
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(BeaconClaim::parse(&claim().encode()), Ok(claim()));
        let unknown = BeaconClaim { recovery_point: None, lag_seconds: None, ..claim() };
        assert_eq!(BeaconClaim::parse(&unknown.encode()), Ok(unknown));
    }

    #[test]
    fn what_anybody_may_have_written_is_not_believed() {
        let refused = |change: &str, to: &str| {
            let text = String::from_utf8(claim().encode()).unwrap();
            assert!(text.contains(change), "{change}");
            BeaconClaim::parse(text.replace(change, to).as_bytes()).unwrap_err()
        };
        assert_eq!(BeaconClaim::parse(b"").unwrap_err(), "not a beacon");
        assert_eq!(refused("60.0", "\"x\""), "not a beacon");
        assert_eq!(refused("\"schema\": 1", "\"schema\": 2"), "a beacon of version 2, which this agent cannot read");
        assert_eq!(refused("60.0", "-1"), "a beacon with impossible numbers");
        assert_eq!(refused("60.0", "1e300"), "a beacon with impossible numbers");
        let long = BeaconClaim { host: format!("a\n{}", "b".repeat(1000)), ..claim() };
        let host = BeaconClaim::parse(&long.encode()).unwrap().host;
        assert_eq!((host.len(), host.contains('\n')), (128, false));
    }

    /// Read at second 40 of our clock, by which it was written at `written`; the claim is dated by the writer's.
    fn seen(written: i64, claim: BeaconClaim) -> BeaconReport {
        // The store's clock is an hour ahead of ours.
        let stored_at = Some(at(written + 3600));
        BeaconReport {
            read_at: Some(at(40)),
            written_at: Some(at(written)),
            stored_at,
            claim: Some(claim),
            reason: None,
        }
    }

    #[test]
    fn lag_is_the_claim_and_its_age_whatever_the_clocks_say() {
        let waiting = BeaconClaim { lag_seconds: Some(7.0), ..claim() };
        for skew in [-7200, 0, 7200] {
            let skewed = BeaconClaim { written_at: at(skew), recovery_point: Some(at(skew - 5)), ..waiting.clone() };
            let beacon = seen(10, skewed);
            assert_eq!(beacon.lag_seconds(None), Some(37.0));
            assert_eq!(beacon.recovery_point(), Some(at(5)));
            assert_eq!(beacon.writer_offset_seconds(), Some((skew - 3610) as f64));
        }
    }

    #[test]
    fn seconds_are_read_to_the_last_bit() {
        let claim = BeaconClaim { lag_seconds: Some(44_444.001_722_586_675), ..claim() };
        assert_eq!(BeaconClaim::parse(&claim.encode()), Ok(claim));
    }

    #[test]
    fn old_and_unknown_claims_say_nothing_of_the_lag() {
        assert!(seen(-200, claim()).is_fresh());
        let old = seen(-201, claim());
        assert_eq!((old.is_fresh(), old.lag_seconds(None)), (false, None));
        assert_eq!(seen(10, BeaconClaim { lag_seconds: None, ..claim() }).lag_seconds(None), None);
        let denied = Reason::new(crate::domain::reason::ReasonKind::Denied, "read: access denied");
        assert_eq!(BeaconReport { reason: Some(denied), ..seen(10, claim()) }.lag_seconds(None), None);
        assert_eq!(BeaconReport::default().lag_seconds(None), None);
    }

    #[test]
    fn a_beacon_from_the_future_is_not_fresh_beyond_what_clocks_differ() {
        assert!(seen(70, claim()).is_fresh());
        assert_eq!(seen(70, claim()).lag_seconds(None), Some(0.0));
        let future = seen(71, claim());
        assert_eq!((future.is_fresh(), future.lag_seconds(None), future.unreplicated_since()), (false, None, None));
    }

    #[test]
    fn what_came_since_the_claim_no_longer_waits() {
        let waiting = BeaconClaim { lag_seconds: Some(500.0), unreplicated_since: Some(at(-500)), ..claim() };
        let beacon = seen(10, waiting);
        let there = |salt1, end| Some(WalPosition { salt1, salt2: 2, end });
        assert_eq!(beacon.lag_seconds(there(1, 4151)), Some(530.0));
        assert_eq!(beacon.lag_seconds(there(1, 4152)), Some(30.0));
        assert_eq!(beacon.lag_seconds(there(9, 9999)), Some(530.0), "another WAL tells nothing");
        assert_eq!(beacon.unreplicated_since(), Some(at(-490)));
    }
}
