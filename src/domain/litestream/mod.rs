//! What Litestream writes: TXIDs, LTX files and their names (v0.5), generations and segments (v0.3), the chain that
//! they form and the plan by which they restore.

pub mod candidates;
pub mod chunk;
pub mod coverage;
pub mod cutter;
pub mod decode;
mod download;
pub mod encryption;
pub mod expiry;
pub mod format_error;
pub mod frame_index;
pub mod fuzz;
pub mod generation;
pub mod generation_plan;
pub mod generations;
pub mod generations_coverage;
pub mod generations_plan;
pub mod header;
mod input;
pub mod inventory;
pub mod layout;
pub mod name;
pub mod page_index;
pub mod plan;
pub mod replay;
pub mod runs;
#[cfg(test)]
mod samples;
pub mod segment;
pub mod timeline;
pub mod timeline_caveats;
pub mod timeline_generations;
pub mod txid;

pub use candidates::Candidates;
pub use chunk::{Chunk, PageBuffer, Sum};
pub use coverage::{Coverage, Gap};
pub use cutter::{LtxCutter, LtxEnd};
pub use decode::{LtxSummary, decode, decode_page};
pub use encryption::AgeIdentities;
pub use format_error::{FormatError, Problem};
pub use frame_index::FrameIndex;
pub use generation::{Generation, GenerationKey, SegmentFile, SegmentName, SnapshotFile, SnapshotName};
pub use generation_plan::{GenerationPlan, GenerationPlanError, plan_generation};
pub use generations::{GenerationInventory, Generations};
pub use generations_coverage::{GenerationsCoverage, IndexGap};
pub use generations_plan::{GenerationsPlan, GenerationsPlanError, ListedGeneration, plan_generations};
pub use header::LtxHeader;
pub use inventory::{Inventory, LevelInventory};
pub use layout::{Layout, LevelKeys};
pub use name::{LtxFile, LtxName, NameError};
pub use page_index::{PageEntry, PageIndex};
pub use plan::{PlanError, PlanTarget, plan};
pub use replay::{Applied, Replay, ReplayError, ReplayFile, Replayed};
pub use runs::{Run, Runs};
pub use segment::{SegmentEnd, segment_end, segment_end_of, snapshot_bytes};
pub use timeline::{Damaged, LtxInstant, LtxTail, LtxTimeline, instant};
pub use timeline_caveats::{Facts, caveats};
pub use timeline_generations::{GenerationInstant, GenerationTimeline};
pub use txid::Txid;

/// The level of snapshots (v0.5); 0 holds what was synced, 1 to 8 compactions of the level below.
pub const SNAPSHOT_LEVEL: u8 = 9;

/// How many levels there are.
pub const LEVELS: usize = 10;
