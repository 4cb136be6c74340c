//! What a replica holds, for an estimate of its cost: everything is listed once.

use jiff::Timestamp;

use super::ports::ReplicaStore;
use super::walk;
use crate::domain::cost::Stock;
use crate::domain::reason::Reason;

/// Lists a replica; `None` where it holds nothing.
///
/// # Errors
///
/// When it cannot be listed.
pub async fn stock(store: &dyn ReplicaStore, now: Timestamp) -> Result<Option<Stock>, Reason> {
    let layouts = store.layouts().await?;
    let Some(newest) = layouts.first() else { return Ok(None) };
    let mut stock = Stock::new(*newest, now);
    for layout in layouts {
        walk::all(store, layout, |object| stock.insert(&object)).await?;
    }
    Ok(Some(stock))
}
