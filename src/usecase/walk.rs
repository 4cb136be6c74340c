//! Whole listings, page by page and with their bounds: memory does not grow with the number of objects.

use crate::domain::limits::{FOREIGN_PAGES_MAX, GENERATIONS_MAX, LIST_PAGES_MAX};
use crate::domain::litestream::{Folder, Generation, Layout, Listed, ObjectName};
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{Page, ReplicaStore};

/// Hands over every page of a folder, from the object `from` on, which is listed again if it is still there.
pub(super) async fn pages(
    store: &dyn ReplicaStore,
    folder: Folder,
    from: Option<ObjectName>,
    mut take: impl FnMut(Page) + Send,
) -> Result<(), Reason> {
    let (mut cursor, mut foreign) = (None, 0);
    for _ in 0..LIST_PAGES_MAX {
        let mut page = store.list(folder, from, cursor.as_ref()).await?;
        foreign = if page.objects.is_empty() { foreign + 1 } else { 0 };
        if foreign >= FOREIGN_PAGES_MAX {
            let message = format!("list {folder}: {FOREIGN_PAGES_MAX} pages in a row without a Litestream file");
            let hint = "something else writes there, or the store invents an endless listing";
            return Err(Reason::new(ReasonKind::Unsupported, message).with_hint(hint));
        }
        cursor = page.next.take();
        take(page);
        if cursor.is_none() {
            return Ok(());
        }
    }
    let message = format!("list {folder}: more than {LIST_PAGES_MAX} pages");
    Err(Reason::new(ReasonKind::Unsupported, message)
        .with_hint("with this many objects, Litestream's retention is not working"))
}

/// As [`pages`], object by object.
pub(super) async fn each(
    store: &dyn ReplicaStore,
    folder: Folder,
    from: Option<ObjectName>,
    mut take: impl FnMut(Listed) + Send,
) -> Result<(), Reason> {
    pages(store, folder, from, |page| page.objects.into_iter().for_each(&mut take)).await
}

/// Hands over every object of a layout: all of a small replica in one listing, where the store has such, and else folder by
/// folder. Levels come in ascending order, so that a file that is compacted meanwhile is seen
/// below, or above, or at both; the segments of a generation before its snapshots, because retention deletes snapshots
/// first: one that is then still there has its segments in the listing.
pub(super) async fn all(
    store: &dyn ReplicaStore,
    layout: Layout,
    mut take: impl FnMut(Listed) + Send,
) -> Result<(), Reason> {
    if let Some(page) = store.all(layout).await?.filter(|page| page.next.is_none()) {
        page.objects.into_iter().for_each(take);
        return Ok(());
    }
    for folder in folders(store, layout).await? {
        each(store, folder, None, &mut take).await?;
    }
    Ok(())
}

/// The generations that are there.
pub(super) async fn generations(store: &dyn ReplicaStore) -> Result<Vec<Generation>, Reason> {
    let folders = folders(store, Layout::V3).await?.into_iter();
    Ok(folders
        .filter_map(|folder| if let Folder::Wal(generation) = folder { Some(generation) } else { None })
        .collect())
}

/// The folders of a layout, of which there is a bounded number.
async fn folders(store: &dyn ReplicaStore, layout: Layout) -> Result<Vec<Folder>, Reason> {
    let folders = store.folders(layout).await?;
    let generations = folders.iter().filter(|folder| matches!(folder, Folder::Wal(_))).count();
    if generations > GENERATIONS_MAX {
        let message =
            format!("list generations/: {generations} generations, more than the {GENERATIONS_MAX} that are read");
        return Err(Reason::new(ReasonKind::Unsupported, message)
            .with_hint("Litestream's retention is not working on this replica"));
    }
    Ok(folders)
}
