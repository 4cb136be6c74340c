//! Documents of our own that anybody may have written, from any bytes: for the fuzz targets and the property tests.

use jiff::Timestamp;

use super::beacon::BeaconClaim;
use super::history::Recorder;
use super::verification::Ledger;

/// A beacon that is believed is read as it is written.
pub fn beacon(bytes: &[u8]) {
    if let Ok(claim) = BeaconClaim::parse(bytes) {
        assert_eq!(BeaconClaim::parse(&claim.encode()), Ok(claim));
    }
}

/// What state.sqlite keeps as text: of a replica's objects, and of a history.
pub fn saved(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut ledger = Ledger::default();
    if ledger.restore(text) {
        let mut again = Ledger::default();
        assert!(again.restore(&ledger.save()), "what is saved is read");
        assert_eq!(again.save(), ledger.save());
    }
    let now = Timestamp::UNIX_EPOCH;
    let _ = Recorder::default().restore(&"app".into(), text, None, now);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_break_a_parser(bytes: Vec<u8>, base64 in "[A-Za-z0-9+/]{0,40}={0,2}") {
            beacon(&bytes);
            saved(&bytes);
            saved(base64.as_bytes());
        }
    }
}
