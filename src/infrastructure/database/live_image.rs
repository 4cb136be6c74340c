//! The pages of a live database, all or single ones, at one position of its WAL: the database file with the frames up to there laid over it.
//!
//! Read from plain descriptors while the database is written. The wal-index says before and after whether what was read
//! can have been something else: the WAL must be the same, and no frame behind the position may be on its way into the
//! database file.

use std::collections::BTreeMap;
use std::fs::File;

use bytes::Bytes;

use super::files::{FileStat, Paths, open, open_found, parse_at, read_at, stat, stat_open};
use super::open_index::OpenIndex;
use super::sample::{Known, Log, Memory, sample};
use crate::domain::limits::{LIVE_IMAGE_PAGES_MAX, SPOT_WAL_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::{
    DATABASE_HEADER_BYTES, DatabaseHeader, FRAME_HEADER_BYTES, FrameHeader, WAL_HEADER_BYTES, WalIndexHeader,
    committed_end, frame_bytes, lock_page,
};
use crate::domain::target::DatabaseFiles;
use crate::infrastructure::page_hash::page_hash;
use crate::usecase::ports::{LiveDatabase, LiveImage, LivePages, LivePosition, LiveTarget, PageReader};

/// Bytes that one read asks for.
const READ_BYTES: usize = 1 << 20;

/// Reads of a wal-index that is being written.
const INDEX_READS: usize = 50;

/// The files of one live database.
#[derive(Debug)]
pub struct LiveFiles {
    paths: Paths,
}

impl LiveFiles {
    pub fn new(files: &DatabaseFiles) -> Self {
        Self { paths: Paths::of(&files.path) }
    }
}

impl LiveDatabase for LiveFiles {
    fn position(&self) -> Result<LivePosition, Reason> {
        let (sample, _) =
            sample(&self.paths, Known::default(), &mut Memory::default()).map_err(|failure| failure.reason)?;
        let position = match sample.log {
            Log::Indexed(header) => header.position(),
            Log::Scanned { position, .. } => Some(position),
            Log::Absent { .. } | Log::Rollback { .. } => None,
        };
        Ok(LivePosition { position, last_commit: sample.dated() })
    }

    fn image(&self, at: Option<LiveTarget>) -> Result<LiveImage, Reason> {
        let before = self.index()?;
        let Some(before) = before.filter(|index| index.frames > 0) else { return self.file_image() };
        let Some(own) = before.position() else { return self.file_image() };
        let target = at.unwrap_or(LiveTarget { position: own, pages: before.page_count });
        covers(&before, &target)?;
        let page_size = before.page_size.ok_or_else(|| changed("its page size is not known"))?;
        let mut pages = vec![0; page_slots(target.pages.into())?];
        let database = open_found(&self.paths.database)?;
        self.read_pages(&database, page_size, &mut pages)?;
        let wal = open(&self.paths.wal)?.ok_or_else(|| changed("its WAL is gone"))?;
        self.read_frames(&wal, page_size, &target, |page, content| {
            if let Some(slot) = (page as usize).checked_sub(1).and_then(|page| pages.get_mut(page)) {
                *slot = page_hash(content);
            }
        })?;
        let after = self.index()?.ok_or_else(|| changed("it was closed while it was being read"))?;
        covers(&after, &target)?;
        let lock_page = lock_page(page_size);
        if (1..).zip(&pages).any(|(page, hash)| *hash == 0 && page != lock_page) {
            return Err(changed("a page is neither in its file nor in its WAL"));
        }
        Ok(LiveImage { page_size, pages, position: Some(target.position) })
    }
}

/// Single pages of live databases.
#[derive(Debug)]
pub struct LivePageReader;

impl PageReader for LivePageReader {
    fn pages(&self, files: &DatabaseFiles, numbers: &[u32], at: &LiveTarget) -> Result<LivePages, Reason> {
        let live = LiveFiles::new(files);
        let Some(before) = live.index()?.filter(|index| index.frames > 0) else {
            return live.file_pages(numbers);
        };
        covers(&before, at)?;
        let page_size = before.page_size.ok_or_else(|| changed("its page size is not known"))?;
        if at.position.end > SPOT_WAL_BYTES_MAX {
            return Err(changed("its WAL is too long to look for single pages in it"));
        }
        let mut found: BTreeMap<u32, Option<Bytes>> = numbers.iter().map(|page| (*page, None)).collect();
        let wal = open(&live.paths.wal)?.ok_or_else(|| changed("its WAL is gone"))?;
        live.read_frames(&wal, page_size, at, |page, content| {
            if let Some(newest) = found.get_mut(&page) {
                *newest = Some(Bytes::copy_from_slice(content));
            }
        })?;
        let database = open_found(&live.paths.database)?;
        let pages = numbers.iter().map(|page| match found.remove(page).flatten() {
            Some(content) => Ok(content),
            None => live.read_page(&database, page_size, *page),
        });
        let pages = pages.collect::<Result<Vec<_>, _>>()?;
        let after = live.index()?.ok_or_else(|| changed("it was closed while it was being read"))?;
        covers(&after, at)?;
        Ok(LivePages { page_size, pages, positioned: true })
    }
}

/// Whether the image at `target` can be put together of what the wal-index says.
fn covers(index: &WalIndexHeader, target: &LiveTarget) -> Result<(), Reason> {
    let LiveTarget { position, .. } = target;
    let (Some(own), Some(page_size)) = (index.position(), index.page_size) else {
        return Err(changed("its WAL was restarted"));
    };
    if !own.same_wal(position) {
        return Err(changed("its WAL is not the one that the replica has reached"));
    }
    if own.end < position.end {
        return Err(changed("its WAL is shorter than what the replica has reached"));
    }
    let copied = committed_end(index.backfilled.max(index.attempted), page_size);
    if copied > position.end {
        return Err(changed("a checkpoint has moved pages that the replica has not reached into the file"));
    }
    Ok(())
}

impl LiveFiles {
    /// `None` when no connection maintains one.
    fn index(&self) -> Result<Option<WalIndexHeader>, Reason> {
        let Some(index) = OpenIndex::open(&self.paths)?.filter(OpenIndex::is_connected) else { return Ok(None) };
        index.header(&self.paths, INDEX_READS)?.map(Some).map_err(|_| changed("its wal-index is being written"))
    }

    /// One page of the database file.
    fn read_page(&self, database: &File, page_size: u32, page: u32) -> Result<Bytes, Reason> {
        let mut content = vec![0; page_size as usize];
        let offset = u64::from(page.saturating_sub(1)) * u64::from(page_size);
        let count = read_at(database, &self.paths.database, &mut content, offset)?;
        if count < content.len() {
            return Err(changed("a page is neither in its file nor in its WAL"));
        }
        Ok(content.into())
    }

    /// Single pages of the database file by itself, when no WAL has anything to add to it.
    fn file_pages(&self, numbers: &[u32]) -> Result<LivePages, Reason> {
        let (database, before, header) = self.file_alone()?;
        let there = numbers.iter().filter(|page| u64::from(**page) * u64::from(header.page_size) <= before.size);
        let pages = there.map(|page| self.read_page(&database, header.page_size, *page));
        let pages = pages.collect::<Result<Vec<_>, _>>()?;
        if pages.len() < numbers.len() {
            return Err(changed("it is closed and smaller than the replica"));
        }
        self.unchanged(&database, before)?;
        Ok(LivePages { page_size: header.page_size, pages, positioned: false })
    }

    fn unchanged(&self, database: &File, before: FileStat) -> Result<(), Reason> {
        if self.without_wal(database)? != before {
            return Err(changed("it was written to while it was being read"));
        }
        Ok(())
    }

    /// The database file, when no WAL has anything to add to it.
    fn file_alone(&self) -> Result<(File, FileStat, DatabaseHeader), Reason> {
        let path = &self.paths.database;
        let database = open_found(path)?;
        let before = self.without_wal(&database)?;
        let header = parse_at::<DATABASE_HEADER_BYTES, _>(&database, path, 0, DatabaseHeader::parse)?
            .map_err(|error| Reason::new(ReasonKind::Corrupt, format!("read {}: {error}", path.display())))?;
        Ok((database, before, header))
    }

    fn file_image(&self) -> Result<LiveImage, Reason> {
        let (database, before, header) = self.file_alone()?;
        let mut pages = vec![0; page_slots(before.size / u64::from(header.page_size))?];
        self.read_pages(&database, header.page_size, &mut pages)?;
        self.unchanged(&database, before)?;
        Ok(LiveImage { page_size: header.page_size, pages, position: None })
    }

    /// Describes the database file if it holds everything that is committed.
    fn without_wal(&self, database: &File) -> Result<FileStat, Reason> {
        let in_use = self.index()?.is_some_and(|index| index.frames == 0);
        let wal = stat(&self.paths.wal)?;
        if !in_use && wal.is_some_and(|wal| wal.size >= WAL_HEADER_BYTES as u64) {
            return Err(changed("it has a WAL that no program has open"));
        }
        stat_open(database, &self.paths.database)
    }

    /// Hashes the pages of the database file; what is behind its end stays 0.
    fn read_pages(&self, database: &File, page_size: u32, pages: &mut [u64]) -> Result<(), Reason> {
        let page_size = page_size as usize;
        let mut buffer = vec![0; READ_BYTES.max(page_size)];
        let per_read = buffer.len() / page_size;
        for (chunk, slots) in pages.chunks_mut(per_read).enumerate() {
            let wanted = slots.len() * page_size;
            let offset = (chunk * per_read) as u64 * page_size as u64;
            let count = read_at(database, &self.paths.database, &mut buffer[..wanted], offset)?;
            for (slot, page) in slots.iter_mut().zip(buffer[..count].chunks_exact(page_size)) {
                *slot = page_hash(page);
            }
            if count < wanted {
                break;
            }
        }
        Ok(())
    }

    /// Hands over the pages in the frames before the target's end, in their order.
    fn read_frames(
        &self,
        wal: &File,
        page_size: u32,
        target: &LiveTarget,
        mut page: impl FnMut(u32, &[u8]),
    ) -> Result<(), Reason> {
        let path = &self.paths.wal;
        let frame = frame_bytes(page_size) as usize;
        let mut buffer = vec![0; READ_BYTES / frame * frame + frame];
        let mut offset = WAL_HEADER_BYTES as u64;
        let mut committed = None;
        while offset < target.position.end {
            let wanted = buffer.len().min(usize::try_from(target.position.end - offset).unwrap_or(usize::MAX));
            let count = read_at(wal, path, &mut buffer[..wanted], offset)?;
            if count < wanted || wanted % frame != 0 {
                return Err(changed("its WAL does not hold all that the replica has reached"));
            }
            for bytes in buffer[..wanted].chunks_exact(frame) {
                let header = FrameHeader::parse(bytes, offset)
                    .map_err(|error| Reason::new(ReasonKind::Corrupt, format!("read {}: {error}", path.display())))?;
                if (header.salt1, header.salt2) != (target.position.salt1, target.position.salt2) {
                    return Err(changed("its WAL was restarted"));
                }
                page(header.page_number, &bytes[FRAME_HEADER_BYTES..]);
                committed = Some(header.commit_pages);
                offset += frame as u64;
            }
        }
        match committed {
            Some(pages) if pages != target.pages => Err(changed("the replica's position is not a commit of this WAL")),
            _ => Ok(()),
        }
    }
}

fn page_slots(pages: u64) -> Result<usize, Reason> {
    if pages > LIVE_IMAGE_PAGES_MAX {
        let text = format!("{pages} pages, more than the {LIVE_IMAGE_PAGES_MAX} that can be compared");
        return Err(Reason::new(ReasonKind::Unsupported, text));
    }
    usize::try_from(pages).map_err(|_| Reason::new(ReasonKind::Unsupported, "too many pages"))
}

/// Why the image cannot be known; not a failure of anything.
fn changed(why: &str) -> Reason {
    Reason::new(ReasonKind::NotFound, why)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A WAL database that is open, and what reads it. In one process, which would be wrong for a live one: SQLite's
    /// locks are lost, and nobody else is there to mind.
    fn open_database(directory: &tempfile::TempDir) -> (Connection, LiveFiles) {
        let path = directory.path().join("db");
        let connection = Connection::open(&path).unwrap();
        let setup = "pragma journal_mode=wal; pragma wal_autocheckpoint=0; create table t(x);
                     insert into t values (randomblob(20000))";
        connection.execute_batch(setup).unwrap();
        (connection, LiveFiles::new(&DatabaseFiles { path, meta_path: None }))
    }

    fn target(files: &LiveFiles, connection: &Connection) -> LiveTarget {
        let bytes = std::fs::read(&files.paths.shm).unwrap();
        let position = WalIndexHeader::parse(&bytes).unwrap().position().unwrap();
        let pages = connection.query_row("pragma page_count", [], |row| row.get(0)).unwrap();
        LiveTarget { position, pages }
    }

    fn image(files: &LiveFiles, target: &LiveTarget) -> Result<Vec<u64>, Reason> {
        let mut pages = vec![0; target.pages as usize];
        files.read_pages(&open(&files.paths.database).unwrap().unwrap(), 4096, &mut pages)?;
        files.read_frames(&open(&files.paths.wal).unwrap().unwrap(), 4096, target, |page, content| {
            pages[page as usize - 1] = page_hash(content);
        })?;
        Ok(pages)
    }

    #[test]
    fn an_older_position_of_the_same_wal_is_put_together_from_file_and_frames() {
        let directory = tempfile::tempdir().unwrap();
        let (connection, files) = open_database(&directory);
        connection.execute_batch("pragma wal_checkpoint(passive); insert into t values (1)").unwrap();
        let then = target(&files, &connection);
        let copy = directory.path().join("copy");
        connection.execute("vacuum into ?1", [copy.to_str().unwrap()]).unwrap();
        let expected = image(&files, &then).unwrap();
        connection.execute_batch("delete from t; insert into t values (randomblob(90000))").unwrap();
        assert_eq!(image(&files, &then).unwrap(), expected);
        assert_ne!(image(&files, &target(&files, &connection)).unwrap(), expected);
        connection.execute_batch("pragma wal_checkpoint(truncate); insert into t values (2)").unwrap();
        assert!(image(&files, &then).is_err(), "the WAL is another one");
    }

    #[test]
    fn a_checkpoint_beyond_the_position_spoils_it() {
        let directory = tempfile::tempdir().unwrap();
        let (connection, files) = open_database(&directory);
        let then = target(&files, &connection);
        connection.execute_batch("insert into t values (1)").unwrap();
        let bytes = std::fs::read(&files.paths.shm).unwrap();
        let mut index = WalIndexHeader::parse(&bytes).unwrap();
        assert_eq!(covers(&index, &then), Ok(()));
        index.attempted = index.frames;
        assert!(covers(&index, &then).unwrap_err().message.contains("checkpoint"));
        let other = LiveTarget { position: crate::domain::sqlite::WalPosition { salt1: 0, ..then.position }, ..then };
        assert!(covers(&index, &other).unwrap_err().message.contains("is not the one"));
    }

    #[test]
    fn a_closed_database_is_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let (connection, files) = open_database(&directory);
        drop(connection);
        let image = files.image(None).unwrap();
        let bytes = std::fs::read(&files.paths.database).unwrap();
        let expected: Vec<u64> = bytes.chunks(4096).map(page_hash).collect();
        assert_eq!((image.page_size, image.pages, image.position), (4096, expected, None));
        let at = LiveTarget { position: crate::domain::sqlite::WalPosition { salt1: 0, salt2: 0, end: 32 }, pages: 2 };
        let database = DatabaseFiles { path: files.paths.database.clone(), meta_path: None };
        let live = LivePageReader.pages(&database, &[2, 1], &at).unwrap();
        assert_eq!((live.page_size, live.positioned), (4096, false));
        assert_eq!(live.pages.concat(), [&bytes[4096..8192], &bytes[..4096]].concat());
        assert!(LivePageReader.pages(&database, &[1, 1000], &at).is_err(), "it has no such page");
    }
}
