//! The live database beside its replica: which state to restore so that it can be compared, and how far the replica is.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::outcome::ONLY_IN_FULL;
use super::{Drill, blocking};
use crate::domain::drill::{COMPARE, DrillResult, RECENCY};
use crate::domain::human::spoken;
use crate::domain::limits::{LIVE_IMAGE_ATTEMPTS, WAL_RESETS_BETWEEN_LOOKS_MAX};
use crate::domain::litestream::{Folder, HEADER_SIZE, Layout, Listed, LtxFile, LtxHeader, Txid};
use crate::domain::moment::signed;
use crate::domain::reason::Reason;
use crate::domain::restore::Restored;
use crate::domain::sqlite::{WAL_HEADER_BYTES, WalPosition, lock_page};
use crate::usecase::ports::{CopyDigest, LiveImage, LivePosition, LiveTarget, ReplicaStore};
use crate::usecase::walk;

/// Between two attempts: longer than a checkpoint of a small database takes.
const PAUSE: Duration = Duration::from_millis(200);

/// The live database as it was seen before the restore.
#[derive(Default)]
pub(super) struct LiveView {
    /// Where it was; sampled before the replica was listed.
    position: Option<LivePosition>,
    /// The newest level-0 file, and where it ends.
    replicated: Option<(Txid, WalPosition)>,
    /// The state that has to be restored for the image to be comparable; `None`: whatever the newest is.
    pub txid: Option<Txid>,
    image: Option<LiveImage>,
    /// Why there is no image.
    why: Option<String>,
}

impl LiveView {
    /// Gives up comparing.
    pub(super) fn without_image(self, why: &str) -> Self {
        Self { txid: None, image: None, why: Some(why.to_owned()), ..self }
    }
}

impl Drill {
    /// Looks at the live database, and reads it whole if it is to be compared (`full`).
    pub(super) async fn look_at_live(&self, store: &dyn ReplicaStore, layout: Layout, full: bool) -> LiveView {
        let Some(live) = self.parts.live.clone() else { return LiveView::default() };
        self.parts.news.step("looking at the live database");
        let sample = Arc::clone(&live);
        let position = blocking(move || sample.position()).await;
        let mut view = LiveView { position: position.as_ref().ok().copied(), ..LiveView::default() };
        let why = match position {
            Err(reason) => Some(reason.message),
            Ok(_) if !full || !self.job.policy.compare => Some(ONLY_IN_FULL.to_owned()),
            Ok(_) => None,
        };
        if why.is_some() {
            let replicated =
                newest_header(store, layout).await.and_then(|header| Some((header.max, header.wal_end()?)));
            return LiveView { why, replicated, ..view };
        }
        for attempt in 0..LIVE_IMAGE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let newest = newest_header(store, layout).await;
            view.replicated = newest.and_then(|header| Some((header.max, header.wal_end()?)));
            let in_use = view.position.is_some_and(|position| position.position.is_some());
            let target = newest.filter(|_| in_use).and_then(|header| {
                Some((header.max, LiveTarget { position: header.wal_end()?, pages: header.commit }))
            });
            let live = Arc::clone(&live);
            match blocking(move || live.image(target.map(|(_, target)| target))).await {
                Ok(image) => {
                    // An image of the file alone belongs to no TXID.
                    view.txid = target.filter(|_| image.position.is_some()).map(|(txid, _)| txid);
                    view.image = Some(image);
                    view.why = None;
                    break;
                }
                Err(reason) => view.why = Some(reason.message),
            }
        }
        view
    }

    /// Compares the restored pages with those of the live database.
    pub(super) fn compare(&mut self, restored: &Restored, digest: Option<&CopyDigest>, view: &LiveView) {
        let since = self.mono();
        if !self.job.policy.compare || self.parts.live.is_none() {
            return;
        }
        let unknown = |why: &str| (DrillResult::Inconclusive, format!("not comparable: {why}"));
        let (result, detail) = match (&view.image, digest) {
            (Some(image), Some(digest)) => match differing(restored, digest, image) {
                None => {
                    let detail = match image.pages.len() {
                        1 => "its one page matches the live database".to_owned(),
                        count => format!("all {count} pages match the live database"),
                    };
                    (DrillResult::Passed, detail)
                }
                Some(difference) if same_state(restored, image, view.txid) => (
                    DrillResult::Failed,
                    format!("{difference} from the live database as it was at the same position in its WAL"),
                ),
                Some(_) => unknown("the live database is at a different position than the restored one"),
            },
            _ => unknown(view.why.as_deref().unwrap_or("the live database was not read")),
        };
        self.check(COMPARE, result, detail, since);
    }

    /// How old what was restored is beside the live database.
    pub(super) fn recency(&mut self, restored: &Restored, view: &LiveView) {
        let Some(live) = &view.position else { return };
        let since = self.mono();
        let now = self.parts.clock.now().wall();
        let identical =
            self.record.checks.iter().any(|check| check.name == COMPARE && check.result == DrillResult::Passed);
        let age = live.last_commit.map(|commit| now.duration_since(commit).max(SignedDuration::ZERO));
        let rpo = signed(self.job.policy.rpo);
        // A compaction does not say where it ends; a level-0 file that ends in the same state does.
        let level_0 = view.replicated.filter(|(txid, _)| Some(*txid) == restored.txid).map(|(_, end)| end);
        let reached = restored.position.or(level_0);
        let (result, detail) = match missing(live.position, reached) {
            Some(0) => (DrillResult::Passed, "it holds everything that has been committed".to_owned()),
            None if identical => (DrillResult::Passed, "it is the live database as it is".to_owned()),
            None => {
                (DrillResult::Inconclusive, "its position and that of the live database cannot be compared".to_owned())
            }
            Some(bytes) => {
                let of =
                    age.map_or_else(String::new, |age| format!(", the last from {} ago", spoken(age.as_secs_f64())));
                let late = age.is_some_and(|age| age > rpo);
                let result = if late { DrillResult::Failed } else { DrillResult::Passed };
                (result, format!("{bytes} bytes of committed WAL are not in it{of}"))
            }
        };
        self.check(RECENCY, result, detail, since);
    }
}

/// Bytes of WAL of the live database, at least, that are not in the replica; `None` where that is unknown.
fn missing(live: Option<WalPosition>, reached: Option<WalPosition>) -> Option<u64> {
    let (live, reached) = (live?, reached?);
    if live.same_wal(&reached) {
        return Some(live.end.saturating_sub(reached.end));
    }
    if reached.follows(&live, WAL_RESETS_BETWEEN_LOOKS_MAX) {
        return Some(0);
    }
    let header = WAL_HEADER_BYTES as u64;
    let follows = live.follows(&reached, WAL_RESETS_BETWEEN_LOOKS_MAX) && live.end > header;
    follows.then(|| live.end - header)
}

/// How two databases differ; `None`: not at all.
fn differing(restored: &Restored, digest: &CopyDigest, image: &LiveImage) -> Option<String> {
    let (size, live_size) = (restored.page_size, image.page_size);
    if size != live_size {
        return Some(format!("pages of {size} bytes instead of {live_size} differ"));
    }
    let (pages, live_pages) = (digest.pages.len(), image.pages.len());
    if pages != live_pages {
        return Some(format!("{pages} pages instead of {live_pages} differ"));
    }
    let lock_page = lock_page(size);
    let pairs = (1..).zip(digest.pages.iter().zip(&image.pages));
    // Nothing is ever in the lock page, and it is not replicated.
    let mut different = pairs.filter(|(page, (one, other))| one != other && *page != lock_page).map(|(page, _)| page);
    let first = different.next()?;
    Some(match different.count() {
        0 => format!("page {first} differs"),
        more => format!("page {first} and {more} more differ"),
    })
}

/// Whether the restored database and the image are of the same position, so that they have to be equal.
fn same_state(restored: &Restored, image: &LiveImage, txid: Option<Txid>) -> bool {
    match (image.position, txid) {
        (Some(_), Some(txid)) => restored.txid == Some(txid),
        (Some(position), None) => restored.position == Some(position),
        (None, _) => false,
    }
}

/// The newest name of level 0, which says what the replica has reached.
pub(super) async fn newest_name(store: &dyn ReplicaStore, layout: Layout) -> Option<Txid> {
    newest_file(store, layout).await.ok().flatten().map(|file| file.max)
}

async fn newest_file(store: &dyn ReplicaStore, layout: Layout) -> Result<Option<LtxFile>, Reason> {
    let mut newest = None;
    if layout != Layout::V3 {
        walk::each(store, Folder::Level(0), None, |object| newest = object.ltx()).await?;
    }
    Ok(newest)
}

/// The header of the newest file of level 0; `None` when there is none or it cannot be read, which planning and
/// restoring will speak of.
async fn newest_header(store: &dyn ReplicaStore, layout: Layout) -> Option<LtxHeader> {
    let file = newest_file(store, layout).await.ok()??;
    let bytes = store.read(Listed::from(file).name, 0, HEADER_SIZE as u64).await.ok()?.required().ok()?;
    LtxHeader::parse(&bytes).ok().filter(|header| header.max == file.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positions_of_one_history_are_compared() {
        let at = |salt1, end| Some(WalPosition { salt1, salt2: 9, end });
        assert_eq!(missing(at(5, 4152), at(5, 4152)), Some(0));
        assert_eq!(missing(at(5, 4152), at(5, 8272)), Some(0), "it went on since");
        assert_eq!(missing(at(5, 8272), at(5, 4152)), Some(4120));
        assert_eq!(missing(at(5, 8272), at(6, 32)), Some(0), "it was reset since");
        assert_eq!(missing(at(6, 4152), at(5, 8272)), Some(4120));
        assert_eq!(missing(at(6, 32), at(5, 8272)), None, "the end of the WAL before is not known");
        assert_eq!(missing(at(900_000, 4152), at(5, 8272)), None);
        assert_eq!(missing(None, at(5, 32)), None);
        assert_eq!(missing(at(5, 32), None), None);
    }

    fn restored(txid: u64, position: Option<WalPosition>) -> Restored {
        Restored {
            bytes: 0,
            page_size: 65_536,
            pages: 0,
            txid: Some(Txid(txid)),
            position,
            trailing_bytes: 0,
            objects: Vec::new(),
            downloaded_bytes: 0,
            requests: 0,
        }
    }

    #[test]
    fn differences_are_named_and_the_lock_page_is_none() {
        let lock = lock_page(65_536) as usize;
        let digest = |pages: Vec<u64>| CopyDigest { sha256: String::new(), pages };
        let live = LiveImage { page_size: 65_536, pages: vec![7; lock + 2], position: None };
        let mut pages = live.pages.clone();
        pages[lock - 1] = 8;
        let say = |pages: &[u64]| differing(&restored(1, None), &digest(pages.to_vec()), &live);
        assert_eq!(say(&pages), None);
        pages[lock] = 8;
        assert_eq!(say(&pages), Some(format!("page {} differs", lock + 1)));
        pages[3] = 1;
        assert_eq!(say(&pages).unwrap(), "page 4 and 1 more differ");
        assert_eq!(say(&pages[1..]), Some(format!("{} pages instead of {} differ", lock + 1, lock + 2)));
        let smaller = LiveImage { page_size: 512, ..live.clone() };
        let size = differing(&restored(1, None), &digest(pages), &smaller);
        assert_eq!(size.unwrap(), "pages of 65536 bytes instead of 512 differ");
    }

    #[test]
    fn a_difference_is_only_damage_in_the_same_state() {
        let position = WalPosition { salt1: 1, salt2: 2, end: 32 };
        let image = |position| LiveImage { page_size: 512, pages: Vec::new(), position };
        let same = |restored: &Restored, at, txid| same_state(restored, &image(at), txid);
        assert!(same(&restored(5, None), Some(position), Some(Txid(5))));
        assert!(!same(&restored(6, None), Some(position), Some(Txid(5))));
        assert!(same(&restored(6, Some(position)), Some(position), None));
        assert!(!same(&restored(6, None), Some(position), None));
        assert!(!same(&restored(6, Some(position)), None, None), "a file without a position proves nothing");
    }
}
