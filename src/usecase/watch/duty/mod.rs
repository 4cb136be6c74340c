//! What the agent does beside its own task.

mod beacon;
mod bucket;
mod drill;
mod look;
mod spot;
mod verify;

use std::sync::Arc;

use super::turn::Duty;
use crate::usecase::ports::DrillRunner;

/// All duties, in the order in which they begin in a turn: a look comes before what follows from it.
pub(super) fn all(drills: Option<Arc<dyn DrillRunner>>) -> Vec<Box<dyn Duty>> {
    vec![
        Box::new(look::Looks::default()),
        Box::new(drill::Drills::new(drills)),
        Box::new(spot::Spots::default()),
        Box::new(verify::Verifications::default()),
        Box::new(beacon::Beacons::default()),
        Box::new(bucket::Buckets::default()),
    ]
}
