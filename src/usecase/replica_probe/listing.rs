//! Whole listings, page by page, and listings of what is new.

use crate::domain::limits::LIST_PAGES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{ObjectInfo, ReplicaStore};

/// Hands over every object below `prefix` after the key `after`, a page at a time: memory does not grow with the number
/// of objects.
pub(in crate::usecase) async fn each(
    store: &dyn ReplicaStore,
    prefix: &str,
    after: Option<String>,
    mut object: impl FnMut(ObjectInfo) + Send,
) -> Result<(), Reason> {
    let mut after = after;
    for _ in 0..LIST_PAGES_MAX {
        let page = store.list(prefix, after.as_deref()).await?;
        let last = page.objects.last().map(|object| object.key.clone());
        page.objects.into_iter().for_each(&mut object);
        match (page.more, last) {
            (true, Some(last)) => after = Some(last),
            _ => return Ok(()),
        }
    }
    let message = format!("list {prefix}: more than {LIST_PAGES_MAX} pages");
    Err(Reason::new(ReasonKind::Unsupported, message).with_hint("a replica with this many objects lacks retention"))
}

/// Where a listing has to start so that `key` itself is listed again: its disappearance is then seen without asking.
pub(super) fn just_before(key: &str) -> String {
    let mut before = key.to_owned();
    before.pop();
    before
}
