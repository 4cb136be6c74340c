//! A restore: the request, the plan of what it will read, and the result.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::litestream::{Generation, Hole, Layout, Listed, Txid};
use super::sqlite::WalPosition;

/// A database that was restored before, to which only what is newer has to be applied (v0.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreBase {
    /// The TXID whose state it holds.
    pub txid: Txid,
    /// Bytes in a page.
    pub page_size: u32,
    /// Pages in the database.
    pub commit: u32,
}

/// The objects that one restore reads, in the order in which they are applied. Known before anything is downloaded.
#[derive(Clone, Debug, PartialEq)]
pub struct RestorePlan {
    pub layout: Layout,
    pub objects: Vec<Listed>,
    /// The TXID whose state is restored (v0.5).
    pub txid: Option<Txid>,
    /// The generation that is restored from (v0.3).
    pub generation: Option<Generation>,
    /// When the newest planned object was made: nothing committed later is restored.
    pub through: Timestamp,
    /// There are newer files that were asked for and that nothing leads to. Litestream's own restore gives the older
    /// state without a word when a time was asked for.
    pub shortfall: Option<Hole>,
    /// The replica has something newer than this, as far as names and times tell.
    pub is_older: bool,
    pub base: Option<RestoreBase>,
    /// Bytes of the database that it leads to; `None` where that is not known before it is restored (v0.3).
    pub database_bytes: Option<u64>,
    /// Notes for a person: where releases of Litestream differ, a sentence each.
    pub notes: Vec<String>,
}

impl RestorePlan {
    /// What people call an object of it.
    pub fn key(&self, object: &Listed) -> String {
        object.name.key(self.layout.keys())
    }

    /// Bytes of all planned objects: what is downloaded, apart from what is read twice after a broken connection.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().fold(0, |bytes, object| bytes.saturating_add(object.size))
    }
}

/// The result of a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// Bytes of the database.
    pub bytes: u64,
    pub page_size: u32,
    /// Pages of the database.
    pub pages: u32,
    /// The TXID whose state it is (v0.5).
    pub txid: Option<Txid>,
    /// Where the source's WAL was then, if the newest object says so.
    #[serde(skip)]
    pub position: Option<WalPosition>,
    /// Bytes behind the last whole WAL frame of the newest segment (v0.3): what was committed there, if anything, is not in it.
    #[serde(default)]
    pub trailing_bytes: u64,
    /// The objects that were read and proven, in plan order.
    pub objects: Vec<RestoredObject>,
    /// Bytes received, repeated reads included.
    pub downloaded_bytes: u64,
    /// Requests made, repeated ones included; without the listing.
    pub requests: u64,
}

/// An object that was read in full and whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RestoredObject {
    /// The key below the replica's root.
    pub key: String,
    /// Size of the object.
    pub bytes: u64,
    /// The checksum that it carries: the CRC-64 of an LTX file, or the xxHash32 of an LZ4 frame, in hexadecimal.
    pub checksum: String,
}
