//! Whole listings, page by page, and listings of what is new.

use crate::domain::limits::{FOREIGN_PAGES_MAX, LIST_PAGES_MAX};
use crate::domain::litestream::{GenerationKey, LevelKeys};
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
    let mut foreign = 0;
    for _ in 0..LIST_PAGES_MAX {
        let page = store.list(prefix, after.as_deref()).await?;
        foreign = if page.objects.iter().any(|object| is_litestreams(&object.key)) { 0 } else { foreign + 1 };
        if foreign >= FOREIGN_PAGES_MAX {
            let message = format!("list {prefix}: {FOREIGN_PAGES_MAX} pages in a row without a Litestream file");
            let hint = "something else writes there, or the store makes up a listing that never ends";
            return Err(Reason::new(ReasonKind::Unsupported, message).with_hint(hint));
        }
        let last = page.objects.last().map(|object| object.key.clone());
        page.objects.into_iter().for_each(&mut object);
        match (page.more, last) {
            (true, Some(last)) => after = Some(last),
            _ => return Ok(()),
        }
    }
    let message = format!("list {prefix}: more than {LIST_PAGES_MAX} pages");
    Err(Reason::new(ReasonKind::Unsupported, message)
        .with_hint("retention is not working on a replica with this many objects"))
}

fn is_litestreams(key: &str) -> bool {
    let level = |keys: LevelKeys| keys.parse_key(key).is_some();
    level(LevelKeys::Plain) || level(LevelKeys::Hex) || GenerationKey::parse(key).is_some()
}

/// Where a listing has to start so that `key` itself is listed again: its disappearance is then seen without asking.
pub(super) fn just_before(key: &str) -> String {
    let mut before = key.to_owned();
    before.pop();
    before
}
