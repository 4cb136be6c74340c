//! Whether the file at a database's path is the one that its WAL belongs to, proven by what SQLite never does.
//!
//! In WAL mode a database file changes through checkpoints alone, and the wal-index says when one begins and ends. What
//! a checkpoint copied stays in the WAL until that begins anew. And whoever uses the WAL holds a lock on its database
//! file, for as long as it does.
//!
//! A finding stays while anybody has the database open, because programs that have a deleted or overwritten file open
//! never notice; and after that for as long as their WAL is there, because the next one to open the database would
//! replay it into the wrong file. It ends before only when the file is back that was there. Evidence that goes (the WAL
//! begins anew) is no reason to say that all is well.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use super::files::{FileId, Paths, SHARED_LOCK, Stamp, lock_in_the_way, open, parse_at, read_at, stat};
use super::holders::{Held, held, held_wal, nobody_has};
use super::open_index::OpenIndex;
use super::sample::{Log, Sample};
use crate::domain::limits::{COMPARED_AGAIN_MAX, COMPARED_FRAMES_MAX, COMPARED_PAGES_MAX};
use crate::domain::replacement::{Contradiction, Replacement, Sign};
use crate::domain::sqlite::{
    DATABASE_HEADER_BYTES, DatabaseHeader, FRAME_HEADER_BYTES, FrameHeader, WalIndexHeader, committed_end, frame_bytes,
};

/// Rounds that all have to find a contradiction: while databases are opened and closed, locks and files come and go.
const ROUNDS: usize = 3;
/// The same for a `-shm` that was deleted: whoever deleted it lets go of it as soon as it has a processor again.
const LEAVING_ROUNDS: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);

/// So many thorough looks in a row do without comparing pages where nothing changed since all were compared. Not all of them:
/// what is written through a mapping of the file does not always change its date.
const SPARED: u8 = 9;

/// A look, and what it was made of.
pub(super) struct Pair<'a> {
    pub paths: &'a Paths,
    pub sample: &'a Sample,
    /// The `-shm` of the sample.
    pub index: Option<&'a OpenIndex>,
    pub at: Timestamp,
    /// The wal-index went on counting since the last look: somebody had the database open all the time.
    pub continued: bool,
    /// The filesystem is this kernel's own, so that it knows all locks, and what it says of a file is true now.
    pub local: bool,
    /// An event told that the database file was written.
    pub written: bool,
}

/// The state of a file and its WAL between two looks.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    state: Replacement,
    /// The file that was found to be another one, and the log that was beside it.
    found: Option<Box<(FileId, Option<LogId>)>>,
    anchor: Option<Anchor>,
    /// A `-shm` that was deleted and is in use.
    orphan: Option<Box<OpenIndex>>,
    /// So often were pages compared: each time they are other ones.
    turn: usize,
    compared: Option<Compared>,
}

/// The files when their pages were compared.
#[derive(Clone, Copy, Debug)]
struct Compared {
    /// Another one after each change.
    state: u64,
    /// Comparisons until each page had its turn.
    left: usize,
    /// Thorough looks since that did without one.
    spared: u8,
}

impl Compared {
    /// `None` where a change could go unseen.
    fn state(pair: &Pair<'_>) -> Option<u64> {
        let files = [pair.sample.database.version(), pair.sample.wal?.version()];
        let index = pair.sample.index.filter(|_| pair.local && files.iter().all(|file| file.is_settled(pair.at)))?;
        let mut hasher = DefaultHasher::new();
        (files, index.id, index.header).hash(&mut hasher);
        Some(hasher.finish())
    }

    /// Nothing is to be compared where nothing changed.
    fn is_enough(&self) -> bool {
        self.left == 0 && self.spared < SPARED
    }
}

/// A file and a WAL that were seen together while no checkpoint was on its way.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    file: Stamp,
    log: Option<LogId>,
    index: WalIndexHeader,
    /// Somebody had the database open all the time since.
    continued: bool,
}

/// Which pages are compared: at most so many, and with each turn others.
#[derive(Clone, Copy)]
struct Choice {
    most: usize,
    turn: usize,
}

/// Which log it is: a `-wal` file and the salts of what is in it, which change when it begins anew.
type LogId = (FileId, u32, u32);

fn log_of(sample: &Sample) -> Option<LogId> {
    let wal = sample.wal?.id;
    match sample.log {
        Log::Indexed(header) if header.frames > 0 => Some((wal, header.salt1, header.salt2)),
        Log::Scanned { position, frames, .. } if frames > 0 => Some((wal, position.salt1, position.salt2)),
        _ => None,
    }
}

impl Pairing {
    /// Takes a `-shm` that is no longer at its path. The last one to use it deletes it and lets go of it then; when that
    /// does not happen, it was deleted under those who use it.
    pub(super) fn leave(&mut self, index: OpenIndex) {
        let is_in_use = |round| {
            if round > 0 {
                std::thread::sleep(PAUSE);
            }
            index.is_connected()
        };
        if (0..LEAVING_ROUNDS).all(is_in_use) {
            self.orphan = Some(Box::new(index));
        }
    }

    /// Whether a thorough look has nothing to read of files that have not changed since the last one.
    pub(super) fn is_at_rest(&self) -> bool {
        self.compared.is_some_and(|compared| compared.is_enough())
    }

    /// Takes in a look. `thorough`: pages and locks are looked at too, which is dear.
    pub(super) fn observe(&mut self, pair: &Pair<'_>, thorough: bool) -> Replacement {
        if let Some(anchor) = &mut self.anchor {
            anchor.continued &= pair.continued && pair.index.is_some();
        }
        self.orphan = self.orphan.take().filter(|orphan| orphan.is_connected());
        if self.orphan.is_some() {
            self.found = None;
            self.state = Replacement::Replaced(Contradiction::WalDeleted);
            return self.state;
        }
        let (file, log) = (pair.sample.database.stamp(), log_of(pair.sample));
        if let Some((found, left)) = self.found.as_deref_mut()
            && *found == file.id
            && (pair.continued || (log.is_some() && log == *left))
        {
            *left = log;
            return self.state;
        }
        if self.is_wal_deleted(pair) {
            self.found = None;
            self.state = Replacement::Replaced(Contradiction::WalDeleted);
            return self.state;
        }
        let (Some(seen), Some(index)) = (pair.sample.index, pair.index) else {
            let anchor = self.anchor.filter(|_| pair.local);
            let left = anchor.is_some_and(|anchor| anchor.file.id != file.id && log.is_some() && log == anchor.log);
            self.state = match pair.sample.log {
                _ if left => Replacement::Replaced(Contradiction::OtherFile),
                Log::Absent { .. } => Replacement::Closed,
                _ => Replacement::Unknown,
            };
            self.found = left.then(|| Box::new((file.id, log)));
            return self.state;
        };
        let known = pair.continued && self.found.is_none() && matches!(self.state, Replacement::Agrees { .. });
        self.state = match self.remembered(pair, index, &seen.header) {
            Some(proof) => Replacement::Replaced(proof),
            None if known && !thorough => self.state,
            None if known && self.is_spared(pair) => self.state,
            None => self.examine(pair, index, if known { COMPARED_AGAIN_MAX } else { COMPARED_PAGES_MAX }),
        };
        let stays = self.state.replaced() == Some(true) && !self.knows_of_a_deleted_wal();
        self.found = stays.then(|| Box::new((file.id, log)));
        if self.found.is_none() && seen.header.is_settled() {
            self.anchor = Some(Anchor { file, log, index: seen.header, continued: true });
        }
        self.state
    }

    /// A WAL that was deleted was in use at the last look.
    pub(super) fn knows_of_a_deleted_wal(&self) -> bool {
        self.state == Replacement::Replaced(Contradiction::WalDeleted)
    }

    /// Whether those who use the wal-index have a WAL that was deleted or moved away: there is none, it is shorter than what they
    /// committed, or it is a new one, which the next program to open the database made.
    fn is_wal_deleted(&self, pair: &Pair<'_>) -> bool {
        let (Some(seen), Some(index)) = (pair.sample.index, pair.index) else { return false };
        let Some(wal) = pair.sample.wal else { return seen.header.frames > 0 && index.is_connected() };
        let short = seen.header.frames > 0 && seen.header.position().is_some_and(|position| wal.size < position.end);
        if !(short || self.knows_of_a_deleted_wal()) || !index.is_connected() {
            return false;
        }
        match held_wal(pair.paths) {
            Held::Other => true,
            Held::Own => false,
            Held::Unseen => {
                let before = self.anchor.and_then(|anchor| anchor.log);
                self.knows_of_a_deleted_wal() && before.is_some_and(|(before, ..)| before != wal.id)
            }
        }
    }

    /// Whether another comparison would show what the last ones did: all pages had their turn, nothing changed since, and those
    /// who use the WAL have the file open.
    fn is_spared(&mut self, pair: &Pair<'_>) -> bool {
        let Some(compared) = &mut self.compared else { return false };
        if !compared.is_enough() || Compared::state(pair) != Some(compared.state) {
            return false;
        }
        compared.spared += 1;
        let database = open(&pair.paths.database).ok().flatten();
        database.is_some_and(|file| matches!(lock_in_the_way(&file, SHARED_LOCK), Ok(Some(_))))
    }

    fn examine(&mut self, pair: &Pair<'_>, index: &OpenIndex, most: usize) -> Replacement {
        self.turn = self.turn.wrapping_add(1);
        let found = examine(pair, index, Choice { most, turn: self.turn });
        let state = Compared::state(pair);
        let left =
            self.compared.filter(|before| Some(before.state) == state).map(|before| before.left.saturating_sub(1));
        self.compared =
            state.zip(found).map(|(state, (_, turns))| Compared { state, left: left.unwrap_or(turns), spared: 0 });
        found.map_or(Replacement::Agrees { pages: 0 }, |(found, _)| found)
    }

    /// The conclusion from earlier looks, which costs nothing unless there is one.
    fn remembered(&self, pair: &Pair<'_>, index: &OpenIndex, now: &WalIndexHeader) -> Option<Contradiction> {
        let anchor = self.anchor.filter(|_| pair.local)?;
        let file = pair.sample.database.stamp();
        if anchor.file.id != file.id {
            let log = log_of(pair.sample);
            let same_log = log.is_some() && log == anchor.log;
            let unchanged = index.read(pair.paths).is_ok_and(|read| read.is_some_and(|read| read.same_wal(now)));
            let proof = (anchor.continued || same_log) && unchanged && index.is_connected();
            return proof.then_some(Contradiction::OtherFile);
        }
        let none_since = |index: &WalIndexHeader| {
            index.same_wal(&anchor.index) && index.backfilled == anchor.index.backfilled && index.is_settled()
        };
        // A date alone is set by `touch`, too.
        let written = anchor.file.size != file.size || (!anchor.file.is_as_old_as(&file) && pair.written);
        let proof = anchor.continued
            && written
            && none_since(now)
            && !index.is_checkpointing()
            && index.is_connected()
            && index.read(pair.paths).is_ok_and(|read| read.is_some_and(|read| none_since(&read)));
        proof.then_some(Contradiction::Written)
    }
}

/// Compares the file with its WAL and looks at its locks; says how many more comparisons there are to be until each page had
/// its turn. `None` when that came to nothing because both changed meanwhile.
fn examine(pair: &Pair<'_>, index: &OpenIndex, choice: Choice) -> Option<(Replacement, usize)> {
    let mut found = compare(pair, index, choice);
    for _ in 1..ROUNDS {
        match found {
            Some((Replacement::Agrees { .. }, _)) => break,
            _ => std::thread::sleep(PAUSE),
        }
        found = compare(pair, index, choice);
    }
    found
}

fn compare(pair: &Pair<'_>, index: &OpenIndex, choice: Choice) -> Option<(Replacement, usize)> {
    let paths = pair.paths;
    let before = index.read(paths).ok()??;
    let connected = index.is_connected();
    let database = open(&paths.database).ok()??;
    let found = match mismatch(paths, &before, &database) {
        _ if is_foreign(paths, &before)? && held_wal(paths) == Held::Other => {
            (Replacement::Replaced(Contradiction::WalDeleted), 0)
        }
        Some(sign) => (unlike(pair, &database, sign), 0),
        None if pair.local && nobody_has(paths, &database) => (Replacement::Replaced(Contradiction::NotOpen), 0),
        None => pages(pair, index, &before, &database, choice)?,
    };
    // A checkpoint that began meanwhile copied at most what was there before, which is not what was compared.
    let after = index.read(paths).ok()??;
    let still = after.same_wal(&before) && after.backfilled.max(after.attempted) <= before.frames;
    let at_path = stat(&paths.shm).ok()?.is_some_and(|shm| shm.id == index.stat.id);
    (connected && still && at_path && index.is_connected()).then_some(found)
}

/// The sign in the file's header that it does not belong to this WAL.
fn mismatch(paths: &Paths, index: &WalIndexHeader, database: &File) -> Option<Sign> {
    let header = parse_at::<DATABASE_HEADER_BYTES, _>(database, &paths.database, 0, DatabaseHeader::parse);
    let header = header.ok()?.ok()?;
    match index.page_size {
        _ if !header.is_wal() => Some(Sign::RollbackJournal),
        Some(wal) if wal != header.page_size => Some(Sign::PageSize { file: header.page_size, wal }),
        _ => None,
    }
}

/// What follows from content that does not belong to the WAL: the file was overwritten, unless somebody who uses the WAL has
/// another one open, which is then the one that belongs to it.
fn unlike(pair: &Pair<'_>, database: &File, sign: Sign) -> Replacement {
    let held = match database.metadata() {
        Ok(file) if pair.local => held(&pair.paths.shm, &file),
        _ => Held::Unseen,
    };
    Replacement::Replaced(match held {
        Held::Other => Contradiction::OtherFile,
        Held::Own | Held::Unseen => Contradiction::Content { sign, seen: held == Held::Own },
    })
}

/// Whether the newest frame in the `-wal` is not what the wal-index says; `None` where that cannot be read.
fn is_foreign(paths: &Paths, index: &WalIndexHeader) -> Option<bool> {
    let Some(page_size) = index.page_size.filter(|_| index.frames > 0) else { return Some(false) };
    let wal = open(&paths.wal).ok()??;
    let at = committed_end(index.frames - 1, page_size);
    let frame = parse_at::<FRAME_HEADER_BYTES, _>(&wal, &paths.wal, at, |bytes| FrameHeader::parse(bytes, at)).ok()?;
    Some(frame.map_or(true, |frame| (frame.salt1, frame.salt2) != (index.salt1, index.salt2)))
}

/// Compares pages of the file with the frames that a checkpoint copied there.
fn pages(
    pair: &Pair<'_>,
    index: &OpenIndex,
    header: &WalIndexHeader,
    database: &File,
    choice: Choice,
) -> Option<(Replacement, usize)> {
    let paths = pair.paths;
    let Some(page_size) = header.page_size.filter(|_| header.backfilled > 0) else {
        return Some((Replacement::Agrees { pages: 0 }, 0));
    };
    let copied = copied(header, &index.page_numbers(paths, header.frames, COMPARED_FRAMES_MAX).ok()?);
    let wal = open(&paths.wal).ok()??;
    let (mut frame, mut page) = (vec![0; frame_bytes(page_size) as usize], vec![0; page_size as usize]);
    let mut compared = 0;
    for (number, at) in chosen(&copied, choice) {
        let offset = committed_end(at - 1, page_size);
        if read_at(&wal, &paths.wal, &mut frame, offset).ok()? < frame.len() {
            return None;
        }
        let found = FrameHeader::parse(&frame, offset).ok()?;
        if (found.salt1, found.salt2, found.page_number) != (header.salt1, header.salt2, number) {
            return None;
        }
        let start = u64::from(number - 1) * u64::from(page_size);
        let count = read_at(database, &paths.database, &mut page, start).ok()?;
        if count < page.len() || page != frame[FRAME_HEADER_BYTES..] {
            return Some((unlike(pair, database, Sign::Page(number)), 0));
        }
        compared += 1;
    }
    let all = copied.len() <= choice.most;
    Some((Replacement::Agrees { pages: compared }, if all { 0 } else { copied.len().div_ceil(COMPARED_AGAIN_MAX) }))
}

/// Pages whose newest frame a checkpoint has copied, with that frame, newest first. `numbers` are the page numbers of the
/// last frames. A page that was written again afterwards may or may not have been copied.
fn copied(header: &WalIndexHeader, numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut newer = HashSet::with_capacity(numbers.len());
    let newest = (1..=header.frames).rev().zip(numbers.iter().rev().copied());
    let newest = newest.filter(|(_, page)| newer.insert(*page));
    newest
        .filter(|(frame, page)| *frame <= header.backfilled && (1..=header.page_count).contains(page))
        .map(|(frame, page)| (page, frame))
        .collect()
}

/// Page 1, which most changes from outside change, and some that are spread over the others.
fn chosen(copied: &[(u32, u32)], Choice { most, turn }: Choice) -> impl Iterator<Item = (u32, u32)> {
    let step = copied.len().div_ceil(most).max(1);
    let first = copied.iter().find(|(page, _)| *page == 1);
    first.into_iter().chain(copied.iter().skip(turn % step).step_by(step).filter(|(page, _)| *page != 1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_were_not_written_again_are_compared() {
        let header = WalIndexHeader {
            change: 1,
            frames: 8,
            page_count: 9,
            page_size: Some(4096),
            salt1: 1,
            salt2: 1,
            backfilled: 6,
            attempted: 6,
            oldest_reader: None,
        };
        let all = [1, 2, 3, 2, 5, 10, 3, 4];
        assert_eq!(copied(&header, &all), [(5, 5), (2, 4), (1, 1)], "3 was written again, 10 is no page any more");
        assert_eq!(copied(&header, &all[4..]), [(5, 5)], "of the last four frames");
        assert_eq!(copied(&WalIndexHeader { backfilled: 0, ..header }, &all), []);
    }

    #[test]
    fn each_turn_compares_other_pages_and_the_first_one() {
        let many: Vec<(u32, u32)> = (1..=1000).rev().map(|page| (page, page)).collect();
        let turns: Vec<Vec<(u32, u32)>> =
            (0..16).map(|turn| chosen(&many, Choice { most: 64, turn }).collect()).collect();
        let all: HashSet<_> = turns.iter().flatten().collect();
        assert_eq!(all.len(), 1000);
        for turn in turns {
            assert!(turn.len() <= 65 && turn[0].0 == 1, "{turn:?}");
        }
        assert_eq!(chosen(&many[..3], Choice { most: 64, turn: 7 }).count(), 3);
        assert_eq!(chosen(&[], Choice { most: 64, turn: 1 }).count(), 0);
    }
}
