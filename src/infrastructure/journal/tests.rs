//! Tests of what is kept, and of states that are damaged or belong to somebody else.

use super::*;

fn entry(name: &str, state: &str) -> (EntryKey, String) {
    (EntryKey { kind: EntryKind::Target, name: name.into() }, state.into())
}

/// A journal that is open.
fn open(directory: &Path) -> Result<SqliteJournal, Reason> {
    let mut journal = SqliteJournal::new(directory);
    journal.read().map(|_| journal)
}

#[test]
fn keeps_what_was_saved_and_forgets_what_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path()).unwrap();
    let kind = |kind: &EntryKind| (EntryKey { kind: *kind, name: "\u{1f}notify".into() }, kind.as_str().to_owned());
    let kinds: Vec<_> = EntryKind::ALL.iter().map(kind).collect();
    journal.save(&[entry("a", "1"), entry("b", "2")], &[]).unwrap();
    journal.save(&kinds, &[]).unwrap();
    journal.save(&[entry("a", "3")], &[entry("b", "").0]).unwrap();
    drop(journal);
    let mut found = open(directory.path()).unwrap().load().unwrap();
    found.sort();
    let mut expected = [&[entry("a", "3")][..], &kinds].concat();
    expected.sort();
    assert_eq!(found, expected, "a name is an entry of its own kind only");
    let mut peeked = peek(directory.path());
    peeked.sort();
    assert_eq!(peeked, expected);
}

#[test]
fn damaged_file_is_set_aside_under_a_name_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    for (number, name) in ["state.sqlite.bad", "state.sqlite.bad.1", "state.sqlite.bad.2"].iter().enumerate() {
        std::fs::write(directory.path().join(FILE), [7 + number as u8; 8192]).unwrap();
        let mut journal = open(directory.path()).unwrap();
        assert_eq!((journal.load().unwrap(), journal.set_aside()), (Vec::new(), 1));
        assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), [7 + number as u8; 8192]);
    }
}

#[test]
fn directory_that_cannot_be_made_is_a_reason_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let reason = open(&file.join("state")).unwrap_err();
    assert_eq!(reason.hint.as_deref(), Some("name a directory that the agent may write with --storage.path"));
}

#[test]
fn a_state_of_a_later_version_says_so_and_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let path = directory.path().join(FILE);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    let before = std::fs::read(&path).unwrap();
    let reason = open(directory.path()).unwrap_err();
    assert!(reason.message.contains("written by a later version of streamgauge (state version 2)"), "{reason}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(peek(directory.path()).is_empty());
}

/// As the first versions made it, and as a kill leaves it: the tables stand in the WAL alone.
#[test]
fn a_state_of_the_first_versions_is_known_by_its_schema_wherever_that_stands() {
    let (old, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let connection = Connection::open(old.path().join(FILE)).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(TARGETS).unwrap();
    connection.pragma_update(None, "user_version", VERSION).unwrap();
    connection
        .execute_batch(
            "INSERT INTO target VALUES ('app', '1'), ('app' || char(31) || 'objects', '2'), (char(31) || 'notify', '3')",
        )
        .unwrap();
    for end in ["", "-wal"] {
        let name = format!("{FILE}{end}");
        std::fs::copy(old.path().join(&name), directory.path().join(&name)).unwrap();
    }
    let page = std::fs::read(directory.path().join(FILE)).unwrap();
    assert!(!page.windows(12).any(|window| window == b"CREATE TABLE"), "the tables are in the WAL");
    assert_eq!(peek(directory.path()), [entry("app", "1")]);
    let mut found = open(directory.path()).unwrap().load().unwrap();
    found.sort();
    let objects = (EntryKey { kind: EntryKind::Objects, name: "app".into() }, "2".to_owned());
    let expected = [entry("app", "1"), objects, (EntryKey::only(EntryKind::Notified), "3".to_owned())];
    assert_eq!(found, expected);
}

#[test]
fn entries_of_kinds_that_a_later_version_has_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    SqliteJournal::new(directory.path()).load().unwrap();
    let connection = Connection::open(directory.path().join(FILE)).unwrap();
    connection.execute_batch("INSERT INTO entry VALUES ('later', 'app', '1')").unwrap();
    let mut journal = SqliteJournal::new(directory.path());
    assert_eq!(journal.load().unwrap(), []);
    journal.save(&[entry("app", "2")], &EntryKey::of(&crate::domain::target::TargetName("app-1".into()))).unwrap();
    assert_eq!(journal.set_aside(), 0);
    let later = "SELECT state FROM entry WHERE kind = 'later' AND name = 'app'";
    assert_eq!(connection.query_row(later, [], |row| row.get::<_, String>(0)).unwrap(), "1");
}

#[test]
fn one_that_goes_away_is_told_and_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let storage = directory.path().join("storage");
    let mut journal = open(&storage).unwrap();
    journal.save(&[entry("a", "1")], &[]).unwrap();
    std::fs::rename(&storage, directory.path().join("elsewhere")).unwrap();
    let reason = journal.save(&[entry("a", "2")], &[]).unwrap_err();
    assert!(reason.message.ends_with("it was removed or replaced while it was in use"), "{reason}");
    let path = format!("write {}/state.sqlite: ", storage.display());
    assert!(reason.message.starts_with(&path), "{reason}");
    // What keeps it from being opened names the path, once.
    std::fs::create_dir_all(storage.join("state.sqlite")).unwrap();
    let reason = journal.save(&[entry("a", "2")], &[]).unwrap_err();
    assert_eq!(reason.message.matches("state.sqlite").count(), 1, "{reason}");
    std::fs::remove_dir(storage.join("state.sqlite")).unwrap();
    journal.save(&[entry("a", "3")], &[]).unwrap();
    drop(journal);
    assert_eq!(open(&storage).unwrap().load().unwrap(), [entry("a", "3")]);
}

/// A state with more than one page of everything, as an agent leaves it.
fn state(directory: &Path) -> (PathBuf, Entries) {
    let mut journal = open(directory).unwrap();
    let entries: Entries = (0..200).map(|number| entry(&format!("app-{number}"), &"history ".repeat(60))).collect();
    journal.save(&entries, &[]).unwrap();
    let objects = (EntryKey { kind: EntryKind::Objects, name: "app-1".into() }, "object ".repeat(4_000));
    journal.save(&[objects], &[]).unwrap();
    (directory.join(FILE), entries)
}

#[test]
fn whatever_is_damaged_is_read_or_set_aside_and_saved_again() {
    type Damage = fn(&mut Vec<u8>);
    let page = |number: usize| 4096 * number;
    assert_eq!(page(2), 8192);
    let damages: &[(&str, Damage)] = &[
        ("magic", |file| file[3] ^= 0xff),
        ("page size", |file| file[16] = 3),
        ("write version", |file| file[18] = 9),
        ("read version", |file| file[19] = 9),
        ("reserved bytes", |file| file[20] = 0xff),
        ("page count", |file| file[28..32].fill(0xff)),
        ("freelist", |file| file[32..40].fill(0x7f)),
        ("schema format", |file| file[44..48].fill(0x7f)),
        ("largest root page", |file| file[52..56].fill(0x01)),
        ("text encoding", |file| file[59] = 2),
        ("user version", |file| file[60..64].fill(0x7f)),
        ("application id", |file| file[68..72].fill(0)),
        ("first page's tree", |file| file[100] = 0),
        ("first page's cells", |file| file[103..120].fill(0xff)),
        ("schema text", |file| file[4000..4096].fill(b'x')),
        ("header", |file| file[..100].fill(0)),
        ("first page", |file| file[..4096].fill(0xaa)),
        ("second page", |file| file[4096..8192].fill(0)),
        ("third page", |file| file[8192..12_288].fill(0xff)),
        ("a leaf's cells", |file| file[12_296..12_340].fill(0x55)),
        ("a text", |file| {
            let at = file.len() - 3000;
            file[at..at + 40].fill(0xff);
        }),
        ("end", |file| file.truncate(file.len() / 2)),
        ("all but a page and a half", |file| file.truncate(6000)),
        ("all but half the header", |file| file.truncate(50)),
        ("everything", |file| file.clear()),
        ("every 97th byte", |file| file.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x20)),
    ];
    for (what, damage) in damages {
        let directory = tempfile::tempdir().unwrap();
        let (path, entries) = state(directory.path());
        let mut file = std::fs::read(&path).unwrap();
        damage(&mut file);
        std::fs::write(&path, &file).unwrap();
        let mut journal = SqliteJournal::new(directory.path());
        let loaded = journal.load().unwrap_or_else(|reason| panic!("{what}: {reason}"));
        let aside = directory.path().join("state.sqlite.bad");
        let known = loaded.iter().filter(|loaded| entries.contains(loaded)).count();
        assert!(journal.set_aside() > 0 || known >= 199 || file.is_empty(), "{what}: {known} entries, not set aside");
        assert_eq!(journal.set_aside() > 0, aside.exists(), "{what}");
        if aside.exists() {
            assert!(std::fs::read(&aside).unwrap() == file, "{what}: what was set aside was changed");
        }
        // What writing stumbles on is set aside as well, and the second attempt begins with nothing.
        let saved = journal.save(&entries, &[]).or_else(|_| journal.save(&entries, &[]));
        saved.unwrap_or_else(|reason| panic!("{what}: {reason}"));
        drop(journal);
        let again = open(directory.path()).unwrap().load().unwrap();
        assert!(entries.iter().all(|entry| again.contains(entry)), "{what}: not saved");
    }
}
