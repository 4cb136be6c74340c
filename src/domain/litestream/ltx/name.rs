//! The name of an LTX file, and what a listing tells of one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::txid::Txid;
use crate::domain::litestream::name::NameError;
use crate::domain::litestream::runs::Run;

/// The name of an LTX file, `<min>-<max>.ltx`: the TXIDs whose changes it holds, both included.
///
/// `1 <= min <= max`. The order is that of the names in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LtxName {
    pub min: Txid,
    pub max: Txid,
}

impl fmt::Display for LtxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.ltx", self.min, self.max)
    }
}

impl FromStr for LtxName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |expected| NameError::new("LTX file name", text, expected);
        let malformed = || error("<16 hex>-<16 hex>.ltx");
        let (min, max) = text.strip_suffix(".ltx").and_then(|t| t.split_once('-')).ok_or_else(malformed)?;
        let min: Txid = min.parse().map_err(|_| malformed())?;
        let max: Txid = max.parse().map_err(|_| malformed())?;
        if min.0 == 0 || min > max {
            return Err(error("a first TXID of at least 1 and a last one not below it"));
        }
        Ok(Self { min, max })
    }
}

/// One LTX file of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LtxFile {
    /// 0 to 9; see [`SNAPSHOT_LEVEL`](super::SNAPSHOT_LEVEL).
    pub level: u8,
    pub min: Txid,
    pub max: Txid,
    /// Bytes.
    pub size: u64,
    /// Its time in the listing: the LTX header's time where the store keeps it, else when it was uploaded.
    pub created: Timestamp,
}

impl LtxFile {
    pub fn name(&self) -> LtxName {
        LtxName { min: self.min, max: self.max }
    }

    /// The TXIDs that it holds.
    pub(super) fn run(&self) -> Run {
        Run::new(self.min.0, self.max.0, self.created)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_names_and_says_what_is_wrong_with_others() {
        let name: LtxName = "0000000000000001-00000000000000ff.ltx".parse().unwrap();
        assert_eq!(name, LtxName { min: Txid(1), max: Txid(255) });

        let error = |text: &str| text.parse::<LtxName>().unwrap_err().to_string();
        let form = "expected <16 hex>-<16 hex>.ltx";
        assert_eq!(error("lock.json"), format!("LTX file name \"lock.json\": {form}"));
        for text in [
            "0000000000000001-00000000000000ff.ltx.tmp",
            "0000000000000001-00000000000000FF.ltx",
            "0000000000000001_00000000000000ff.ltx",
            "000000000000001-000000000000000ff.ltx",
        ] {
            assert!(error(text).ends_with(form), "{text}");
        }
        let order = "expected a first TXID of at least 1 and a last one not below it";
        assert!(error("0000000000000000-0000000000000001.ltx").ends_with(order));
        assert!(error("0000000000000003-0000000000000002.ltx").ends_with(order));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(min in 1..=u64::MAX, more: u64) {
            let name = LtxName { min: Txid(min), max: Txid(min.saturating_add(more)) };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn any_text_it_accepts_is_what_it_writes(text in "[0-9a-f]{15,17}-[0-9a-f]{15,17}.ltx") {
            if let Ok(name) = text.parse::<LtxName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
