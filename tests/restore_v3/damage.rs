//! Every loss and damage of a v0.3 replica made on purpose: what 0.3.13 makes of it, and what we say.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use streamgauge::domain::litestream::{PlanTarget, SegmentName, segment_end};
use streamgauge::domain::reason::ReasonKind;
use streamgauge_testkit::ltx::lz4_frame;

use super::lab::Lab;
use super::ours::{self, Ours};
use super::site::{Replica, Site, genuine_folder};

pub fn all(lab: &Lab, site: &Site) {
    let replica = &site.replicas[1];
    let place = Place::find(replica);
    lost_index(lab, replica, &place);
    lost_first(lab, replica, &place);
    lost_middle(lab, replica, &place);
    lost_last(lab, replica, &place);
    lost_segments(lab, replica, &place);
    lost_snapshot(lab, replica, &place);
    torn(lab, replica, &place);
    damaged(lab, replica, &place);
    cut_within_a_frame(lab, replica, &place);
}

/// What can be lost: an index in the middle of what the latest state is restored from, with three segments at least.
struct Place {
    snapshot: String,
    /// Of that index, in order.
    segments: Vec<(SegmentName, String)>,
    /// The first one of the next index.
    next: String,
    /// The restore of the undamaged replica.
    whole: Ours,
}

impl Place {
    fn find(replica: &Replica) -> Self {
        let whole = replica.ours(PlanTarget::Latest).unwrap();
        let segments: Vec<(SegmentName, String)> = whole
            .plan
            .objects
            .iter()
            .filter_map(|object| Some((object.segment()?.name(), whole.plan.key(object))))
            .collect();
        let last = segments.last().unwrap().0.index;
        let of = |index| segments.iter().filter(move |(name, _)| name.index == index).cloned().collect::<Vec<_>>();
        let first = segments[0].0.index;
        let index = (first + 1..last).find(|index| of(*index).len() > 2).unwrap_or_else(|| panic!("{segments:?}"));
        let next = of(index + 1)[0].1.clone();
        Self { snapshot: whole.plan.key(&whole.plan.objects[0]), segments: of(index), next, whole }
    }

    /// Of all indexes that the latest state is restored from, in order.
    fn restored_segments(&self) -> Vec<String> {
        self.whole.plan.objects[1..].iter().map(|object| self.whole.plan.key(object)).collect()
    }
}

/// A copy of a replica to be damaged; all files keep their times, which is what Litestream goes by.
pub struct Copy {
    pub directory: tempfile::TempDir,
}

impl Copy {
    pub fn of(replica: &Replica) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (key, modified) in replica.objects() {
            let to = directory.path().join(&key);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(replica.folder.join(&key), &to).unwrap();
            File::options().write(true).open(&to).unwrap().set_modified(modified.into()).unwrap();
        }
        Self { directory }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.path().join(key)
    }

    fn lose<'a>(self, keys: impl IntoIterator<Item = &'a String>) -> Self {
        keys.into_iter().for_each(|key| fs::remove_file(self.path(key)).unwrap());
        self
    }

    fn change(self, key: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let path = self.path(key);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        self
    }

    fn ours(&self, point: PlanTarget) -> Result<Ours, streamgauge::domain::reason::Reason> {
        ours::restore(self.directory.path(), point, &[])
    }

    /// What 0.3.13 makes of it: its complaint, or how many rows there are, or what SQLite says of the result.
    fn genuine(&self, lab: &Lab) -> Result<String, String> {
        genuine_folder(lab, "0.3.13", self.directory.path(), None).map(|database| rows(&database))
    }
}

/// The number of rows of a database that is sound, else what is wrong with it.
fn rows(database: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    fs::write(&path, database).unwrap();
    match ours::query(&path, "PRAGMA integrity_check") {
        sound if sound == "[\"ok\"]" => ours::query(&path, "SELECT count(*) FROM t"),
        _ => "malformed".to_owned(),
    }
}

/// The plan fails; at a time it is cut short, and says so.
fn lost_index(lab: &Lab, replica: &Replica, place: &Place) {
    let copy = Copy::of(replica).lose(place.segments.iter().map(|(_, key)| key));
    let error = copy.genuine(lab).unwrap_err();
    assert!(error.contains("missing WAL index"), "{error}");
    let reason = copy.ours(PlanTarget::Latest).unwrap_err();
    let (name, key) = &place.segments[0];
    assert_eq!(reason.kind, ReasonKind::NotFound);
    assert!(
        reason.message.ends_with(&format!("has no segment of WAL index {:08x}: {key} is missing", name.index)),
        "{reason}"
    );
    let hint = reason.hint.unwrap();
    // Up to there a restore at a time goes, and says that there is more.
    let plan = &place.whole.plan;
    let before = plan.objects.iter().rev().find(|object| plan.key(object) < *key).unwrap();
    assert_eq!(hint, format!("the state at {} precedes it: restore to that time", before.at.instant()));
    let at = copy.ours(PlanTarget::Time(before.at.instant())).unwrap();
    assert!(at.plan.shortfall.is_none() && at.plan.objects.last() == Some(before));
    let cut = copy.ours(PlanTarget::Time(place.whole.plan.through)).unwrap();
    let shortfall = cut.plan.shortfall.unwrap();
    assert_eq!(shortfall.before, format!("{:08x}/00000000", name.index + 1));
    assert!(shortfall.after < format!("{:08x}", name.index) && cut.database == at.database);
}

fn lost_first(lab: &Lab, replica: &Replica, place: &Place) {
    let (name, key) = &place.segments[0];
    let copy = Copy::of(replica).lose([key]);
    let error = copy.genuine(lab).unwrap_err();
    assert!(error.contains("missing initial wal segment"), "{error}");
    let reason = copy.ours(PlanTarget::Latest).unwrap_err();
    let expected = format!("has no first segment of WAL index {:08x}: {key} is missing", name.index);
    assert!(reason.message.ends_with(&expected), "{reason}");
}

/// 0.3.13 is content, and the database is not what it was; we name the key.
fn lost_middle(lab: &Lab, replica: &Replica, place: &Place) {
    let [.., (_, key), (_, next)] = &*place.segments else { panic!("three segments") };
    let copy = Copy::of(replica).lose([key]);
    let rows = copy.genuine(lab).unwrap();
    assert_ne!(rows, self::rows(&place.whole.database), "0.3.13 restores something else without a word");
    let reason = copy.ours(PlanTarget::Latest).unwrap_err();
    assert_eq!(reason.kind, ReasonKind::Corrupt);
    assert_eq!(reason.message, format!("read {next}: {key}, which comes before it, is missing"));
    let plan = &place.whole.plan;
    let before = plan.objects.iter().rev().find(|object| plan.key(object) < *key).unwrap();
    let hint = reason.hint.unwrap();
    assert!(
        hint.starts_with(&format!("the state at {} precedes it: restore to that time; ", before.at.instant())),
        "{hint}"
    );
    let at = copy.ours(PlanTarget::Time(before.at.instant())).unwrap();
    assert_eq!(at.plan.objects.last(), Some(before));
    // 0.5.17 refuses as well.
    assert!(genuine_folder(lab, "0.5.17", copy.directory.path(), None).is_err());
}

/// Nothing in the replica tells: all restore the same, with what was in it missing. Who saw the segment there knows.
fn lost_last(lab: &Lab, replica: &Replica, place: &Place) {
    let (_, key) = place.segments.last().unwrap();
    let copy = Copy::of(replica).lose([key]);
    let genuine = genuine_folder(lab, "0.3.13", copy.directory.path(), None).unwrap();
    let ours = copy.ours(PlanTarget::Latest).unwrap();
    assert!(ours.database == genuine && ours.database != place.whole.database);
}

fn lost_segments(lab: &Lab, replica: &Replica, place: &Place) {
    let segments = place.restored_segments();
    let copy = Copy::of(replica).lose(&segments);
    let genuine = genuine_folder(lab, "0.3.13", copy.directory.path(), None);
    // 0.3.13 panics where segments before the snapshot are all that is left.
    let ours = copy.ours(PlanTarget::Latest).unwrap();
    assert!(genuine.is_err() || genuine == Ok(ours.database.clone()));
    assert_eq!((ours.plan.objects.len(), ours.restored.position), (1, None));
}

fn lost_snapshot(lab: &Lab, replica: &Replica, place: &Place) {
    let folder = Path::new(&place.snapshot).parent().unwrap().to_owned();
    let all: Vec<String> = replica.objects().into_iter().map(|(key, _)| key).collect();
    let copy = Copy::of(replica).lose(all.iter().filter(|key| Path::new(key).starts_with(&folder)));
    assert!(copy.genuine(lab).is_err());
    let reason = copy.ours(PlanTarget::Latest).unwrap_err();
    assert!(reason.message.ends_with(" has no snapshot"), "{reason}");
    // The other generation is older, and there.
    assert!(reason.hint.is_some_and(|hint| hint.contains("restore to that time")));
}

/// A transaction whose last frame is missing: at the very end it is left out, as SQLite leaves it out; elsewhere it
/// shows that the end of an index is missing.
fn torn(lab: &Lab, replica: &Replica, place: &Place) {
    let frame = 24 + replica.page_size as usize;
    let without_commit = |bytes: Vec<u8>| {
        let wal = decompress(&bytes);
        assert!(wal.len() >= 2 * frame, "a transaction of several pages");
        lz4_frame(&wal[..wal.len() - frame])
    };
    let segments = place.restored_segments();
    // Litestream's own transactions, one after each checkpoint, change a single page: they may be the last ones.
    let several = |key: &String| decompress(&fs::read(replica.folder.join(key)).unwrap()).len() >= 2 * frame;
    let last = segments.iter().rposition(several).unwrap();
    let ending = || Copy::of(replica).lose(&segments[last + 1..]);
    let whole = ending().ours(PlanTarget::Latest).unwrap();
    let copy = ending().change(&segments[last], without_commit);
    let genuine = genuine_folder(lab, "0.3.13", copy.directory.path(), None).unwrap();
    let ours = copy.ours(PlanTarget::Latest).unwrap();
    assert!(ours.database == genuine && ours.database != whole.database);
    let (end, whole) = (ours.restored.position.unwrap(), whole.restored.position.unwrap());
    assert!(end.same_wal(&whole) && end.end < whole.end, "{end:?} {whole:?}");

    let (name, key) = place.segments.last().unwrap();
    let copy = Copy::of(replica).change(key, without_commit);
    let reason = copy.ours(PlanTarget::Latest).unwrap_err();
    let end = segment_end(name, &*fs::read(copy.path(key)).unwrap()).unwrap().end.end;
    let missing = key.replace(&name.to_string(), &SegmentName { offset: end, ..*name }.to_string());
    assert_eq!(reason.message, format!("read {}: {missing}, which comes before it, is missing", place.next));
}

/// Objects that are there and are not what they were: always an error with the key.
fn damaged(lab: &Lab, replica: &Replica, place: &Place) {
    let [(_, first), (_, middle), ..] = &*place.segments else { panic!("three segments") };
    let flip = |at: fn(usize) -> usize| {
        move |mut bytes: Vec<u8>| {
            let at = at(bytes.len());
            bytes[at] ^= 0x10;
            bytes
        }
    };
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    // A whole LZ4 frame whose WAL frames are not what they were: 0.3.13 leaves out what follows, without a word.
    let forged = |bytes: Vec<u8>| {
        let mut wal = decompress(&bytes);
        let end = wal.len() - 1;
        wal[end] ^= 1;
        lz4_frame(&wal)
    };
    // Frames of the next index.
    let stranger = |_| lz4_frame(&decompress(&fs::read(replica.folder.join(&place.next)).unwrap())[32..]);
    type Change<'a> = Box<dyn FnOnce(Vec<u8>) -> Vec<u8> + 'a>;
    let cases: Vec<(&String, &str, Change<'_>, bool)> = vec![
        (middle, "unexpected end at byte ", Box::new(half), false),
        (middle, "unexpected end at byte 0", Box::new(|_| Vec::new()), false),
        (middle, "decompress segment: ", Box::new(flip(|length| length - 2)), false),
        (middle, "not an LZ4 frame", Box::new(flip(|_| 0)), false),
        (middle, "bytes after the end of the file's content", Box::new(|bytes| [bytes, vec![0]].concat()), true),
        (middle, "WAL frame at ", Box::new(forged), true),
        (first, "decompressed wal header", Box::new(|_| fs::read(replica.folder.join(middle)).unwrap()), true),
        (middle, "salts of another WAL", Box::new(stranger), true),
        (&place.snapshot, "unexpected end at byte ", Box::new(half), false),
        (&place.snapshot, "unexpected end at byte 0", Box::new(|_| Vec::new()), false),
        (&place.snapshot, "decompress snapshot: ", Box::new(flip(|length| length - 2)), false),
        (&place.snapshot, "decompress", Box::new(flip(|length| length / 2)), false),
        (&place.snapshot, "decompressed database header", Box::new(|_| lz4_frame(b"not a database")), false),
    ];
    let mut surprises = Vec::new();
    for (key, expected, change, silent) in cases {
        let copy = Copy::of(replica).change(key, change);
        let reason = copy.ours(PlanTarget::Latest).unwrap_err();
        assert_eq!(reason.kind, ReasonKind::Corrupt, "{reason}");
        assert!(reason.message.starts_with(&format!("read {key}: ")), "{key}: {reason}");
        assert!(reason.message.contains(expected), "{expected}: {reason}");
        // Where 0.3.13 restores, it is by leaving out what it does not understand.
        let genuine = copy.genuine(lab);
        let as_before = Ok(rows(&place.whole.database));
        let found =
            (genuine.is_ok(), key.contains("snapshot") || expected.starts_with("bytes after") || genuine != as_before);
        if found != (silent, true) {
            surprises.push(format!("{key}: {expected}: {genuine:?}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Bytes behind the last whole frame of the newest segment: both releases of Litestream restore what is before them, and so
/// do we. Of an older one, each makes something else.
fn cut_within_a_frame(lab: &Lab, replica: &Replica, place: &Place) {
    let more = |bytes: Vec<u8>| lz4_frame(&[decompress(&bytes), vec![7; 100]].concat());
    let less = |bytes: Vec<u8>| {
        let wal = decompress(&bytes);
        lz4_frame(&wal[..wal.len() - 100])
    };
    let all = place.restored_segments();
    let (newest, middle) = (all.last().unwrap(), &place.segments[1].1);
    for change in [&more as &dyn Fn(Vec<u8>) -> Vec<u8>, &less] {
        let copy = Copy::of(replica).change(newest, change);
        let ours = copy.ours(PlanTarget::Latest).unwrap();
        assert!(ours.restored.trailing_bytes > 0);
        for version in ["0.3.13", "0.5.17"] {
            let genuine = genuine_folder(lab, version, copy.directory.path(), None).unwrap();
            assert!(ours.database == genuine, "{version} restores something else");
        }
        assert_eq!(ours.query("PRAGMA integrity_check"), "[\"ok\"]");
        let copy = Copy::of(replica).change(middle, change);
        let reason = copy.ours(PlanTarget::Latest).unwrap_err();
        assert!(reason.message.contains(", which comes before it, is missing"), "{reason}");
        assert_ne!(copy.genuine(lab), Ok(rows(&place.whole.database)), "0.3.13 leaves out what follows");
        genuine_folder(lab, "0.5.17", copy.directory.path(), None).unwrap_err();
    }
}

fn decompress(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    lz4_flex::frame::FrameDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}
