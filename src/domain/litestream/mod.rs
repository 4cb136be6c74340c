//! What Litestream writes: TXIDs, LTX files and their names (v0.5), generations and segments (v0.3), the chain that
//! they form and the plan by which they restore.

use serde::Serialize;

/// A Litestream v0.5 transaction ID: one sync batch, not one SQLite transaction. Never 0 in a file name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Txid(pub u64);
