//! Litestream v0.5: LTX files on levels, each with the TXIDs that its name says.

mod candidates;
mod chunk;
mod coverage;
mod cutter;
mod decode;
mod download;
mod expiry;
mod frame;
mod frame_index;
mod header;
mod inventory;
mod map;
mod name;
mod page_index;
mod plan;
mod txid;

pub use candidates::Candidates;
pub use chunk::{Chunk, PageBuffer, Sum};
pub use cutter::{LtxCutter, LtxEnd};
pub use decode::{LtxSummary, decode, decode_page};
pub use expiry::expired;
pub use frame_index::FrameIndex;
pub use header::{HEADER_SIZE, LtxHeader};
pub use inventory::{Inventory, LevelInventory};
pub use map::{Damaged, LtxInstant, LtxTail, LtxTimeline, instant};
pub use name::{LtxFile, LtxName};
pub use page_index::{PageEntry, PageIndex};
pub use plan::{PlanError, PlanTarget, plan};
pub use txid::Txid;

/// The level of snapshots; 0 holds what was synced, 1 to 8 compactions of the level below.
pub const SNAPSHOT_LEVEL: u8 = 9;

/// How many levels there are.
pub const LEVELS: usize = 10;
