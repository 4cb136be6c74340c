//! What reading the objects of a replica showed, beyond what their names say.

mod budget;
mod finding;
mod ledger;
mod listing;
mod record;
mod relations;
mod rereading;
mod retention;
mod saved;
mod spot;
mod summary;
mod turns;

pub use budget::{Budget, VerifyDepth, VerifyPolicy};
pub use finding::{FindingKind, ObjectFinding, VerificationReport};
pub use ledger::Ledger;
pub use listing::Listing;
pub use record::{Facts, Job, Outcome, PageRuns, TAIL_BYTES, Verified, Want};
pub use spot::{SpotFile, SpotPlan};
