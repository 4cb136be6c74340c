//! Litestream v0.3: generations, each of snapshots and the segments of the WALs behind them, encrypted with `age` or not.

mod coverage;
mod download;
pub mod encryption;
mod expiry;
pub mod inventory;
pub mod map;
pub mod name;
pub mod plan;
pub mod replay;
pub mod segment;

pub use encryption::AgeIdentities;
pub use inventory::{GenerationInventory, Generations};
pub use map::{GenerationInstant, GenerationTimeline};
pub use name::{Generation, GenerationKey, ROOT, SegmentFile, SegmentName, SnapshotFile, SnapshotName};
pub use plan::{
    GenerationPlan, GenerationPlanError, GenerationsPlan, GenerationsPlanError, ListedGeneration, plan_generation,
    plan_generations,
};
pub use replay::{Applied, Replay, ReplayError, ReplayFile, Replayed};
pub use segment::{SegmentEnd, segment_end, segment_end_of, snapshot_bytes};
