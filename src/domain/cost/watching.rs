//! What the agent itself asks of a replica, each second. `tests/detection/costs.rs` holds looks to a simulated store.

use super::{DAY, Flow, LISTED_PER_REQUEST, Part, Settings, Stock, Usage};
use crate::domain::limits::RESTORE_PIECE_BYTES;
use crate::domain::litestream::{HEADER_SIZE, LEVELS};

/// Bytes that verification counts for one request, and about those of a page.
const PAGE_BYTES: f64 = 4096.0;

/// Bytes of the header of a file, which a look reads.
const HEADER_BYTES: f64 = HEADER_SIZE as f64;

/// A drill reads an object in pieces of so many bytes.
const PIECE_BYTES: f64 = RESTORE_PIECE_BYTES as f64;

pub(super) fn lines(stock: &Stock, flows: &[Flow; LEVELS], is: &Settings) -> [(Part, Usage); 5] {
    let beacon = Usage { uploads: is.beacon.map_or(0.0, |every| 1.0 / every), ..Usage::default() };
    [
        (Part::Looks, looks(stock.is_v03(), flows, is)),
        (Part::Verification, verification(flows, is)),
        (Part::SpotChecks, spot_checks(is)),
        (Part::Drills, drills(stock, flows, is)),
        (Part::Beacon, beacon),
    ]
}

/// A look follows a commit, but never two within the interval; another one is made whenever nothing came for a while, of
/// replicas at rest in turn, and at the latest when everything is listed or pages are compared.
fn looks(v03: bool, flows: &[Flow; LEVELS], is: &Settings) -> Usage {
    let commits = flows[0].per_second;
    let at_most = |every: f64| commits.min(1.0 / every);
    let seldom = (is.idle * is.turns).min(is.reconcile).min(is.spot.unwrap_or(f64::INFINITY));
    let idle = (1.0 / seldom - commits).max(0.0);
    let there = || flows.iter().filter(|flow| flow.objects > 0.0);
    let (levels, objects) = (there().count() as f64, there().map(|flow| flow.objects).sum::<f64>());
    // The folders and each of them, where all of it is not one answer.
    let everything = match is.kind.is_atomic() && objects < LISTED_PER_REQUEST as f64 {
        true => 1.0,
        false => 1.0 + there().map(Flow::pages).sum::<f64>(),
    };
    let whole = at_most(is.levels) * levels + everything / is.reconcile;
    if is.kind.is_atomic() && !v03 && is.listing > is.look {
        // With nothing new, the newest header is read again, and the next one asked for.
        let reads = at_most(is.look) + 2.0 * idle;
        let received_bytes = (at_most(is.look) + idle) * HEADER_BYTES;
        return Usage { lists: at_most(is.listing) + whole, reads, received_bytes, ..Usage::default() };
    }
    let reads = at_most(is.look);
    Usage { lists: reads + idle + whole, reads, received_bytes: reads * HEADER_BYTES, ..Usage::default() }
}

/// Each new object once, as far as the bytes of a day go.
fn verification(flows: &[Flow; LEVELS], is: &Settings) -> Usage {
    let sum = |of: fn(&Flow) -> f64| flows.iter().map(|flow| flow.per_second * of(flow)).sum::<f64>();
    let counted = sum(|flow| flow.bytes + PAGE_BYTES);
    let share = if counted > 0.0 { (is.verify_bytes / DAY / counted).min(1.0) } else { 0.0 };
    let reads = sum(|flow| 1.0 + (flow.bytes / PIECE_BYTES).floor());
    Usage { reads: share * reads, received_bytes: share * sum(|flow| flow.bytes), ..Usage::default() }
}

fn spot_checks(is: &Settings) -> Usage {
    let reads = is.spot.map_or(0.0, |every| (is.spot_pages + 1.0) / every);
    Usage { reads, received_bytes: reads * PAGE_BYTES, ..Usage::default() }
}

/// The newest snapshot, and at most what the highest level holds.
fn drills(stock: &Stock, flows: &[Flow; LEVELS], is: &Settings) -> Usage {
    let Some(every) = is.drill.filter(|_| stock.objects() > 0) else { return Usage::default() };
    let [levels @ .., _] = flows;
    let above = levels.iter().rev().find(|flow| flow.objects > 0.0).copied().unwrap_or_default();
    let bytes = stock.drill_bytes();
    let lists: f64 = 2.0 * flows.iter().map(Flow::pages).sum::<f64>();
    let reads = 1.0 + above.objects + bytes / PIECE_BYTES;
    Usage { lists: lists / every, reads: reads / every, received_bytes: bytes / every, ..Usage::default() }
}
