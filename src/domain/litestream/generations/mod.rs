//! Litestream v0.3: generations, each of snapshots and the segments of the WALs behind them, encrypted with `age` or not.

mod coverage;
mod download;
mod encryption;
mod expiry;
mod inventory;
mod map;
mod name;
mod plan;
mod replay;
mod segment;

pub use encryption::AgeIdentities;
pub use inventory::{GenerationInventory, Generations};
pub use map::{GenerationInstant, GenerationTimeline};
pub use name::{Generation, ROOT, SegmentFile, SegmentName, SnapshotFile, SnapshotName};
pub use plan::{
    GenerationPlan, GenerationPlanError, GenerationsPlan, GenerationsPlanError, ListedGeneration, plan_generation,
    plan_generations, starting_snapshot,
};
pub use replay::{Applied, BadFrame, Replay, ReplayError, ReplayFile, Replayed};
pub use segment::{SegmentEnd, segment_end, segment_end_of, snapshot_bytes};
