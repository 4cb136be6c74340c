//! The number that v0.5 gives each sync batch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::litestream::name::{NameError, hex};

/// A Litestream v0.5 transaction ID: one sync batch, not one SQLite transaction. Never 0 in a file name.
///
/// Written as 16 lower-case hexadecimal digits, as in file names and in `litestream restore -txid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Txid(pub u64);

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Txid {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        hex(text, 16).map(Self).ok_or_else(|| NameError::new("txid", text, "16 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_only_what_litestream_writes() {
        assert_eq!("00000000000000ff".parse(), Ok(Txid(255)));
        for text in ["", "ff", "00000000000000FF", "000000000000000ff", "+000000000000001", "00000000000000f\u{e9}"] {
            let error = text.parse::<Txid>().unwrap_err();
            assert_eq!(error.to_string(), format!("txid {text:?}: expected 16 lower-case hexadecimal digits"));
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes_and_sorts_like_its_text(a: u64, b: u64) {
            prop_assert_eq!(Txid(a).to_string().parse(), Ok(Txid(a)));
            prop_assert_eq!(Txid(a).to_string().cmp(&Txid(b).to_string()), a.cmp(&b));
        }
    }
}
