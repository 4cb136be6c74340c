//! The part of verification's memory that survives a restart, so that nothing is read twice.

use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FindingKind;
use super::job::Facts;
use super::ledger::Ledger;
use super::record::{Fault, MISSED_TWICE, Record};
use crate::domain::limits::VERIFIED_OBJECTS_MAX;
use crate::domain::litestream::{LevelKeys, ObjectName};

/// The text that a [`Ledger`] is saved as. One that cannot be read is worth nothing: everything needed is read again.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    hex_levels: bool,
    begun: bool,
    tokens: f64,
    filled: Option<Timestamp>,
    /// Structure and content verified, bytes read, conflicts.
    counts: [u64; 4],
    marks: Vec<String>,
    /// One line each, see [`line`].
    objects: Vec<String>,
    faults: Vec<SavedFault>,
    /// Those between objects, for who reads what an agent saved: the agent itself finds them again.
    #[serde(default)]
    related: Vec<SavedFault>,
    /// When objects were read in full.
    #[serde(default)]
    read_at: Vec<(String, Timestamp)>,
    /// Objects read again, their bytes, and how much of the budget for that is left.
    #[serde(default)]
    reread: (u64, u64, f64, Option<Timestamp>),
}

/// The object, its fault, and whether it was needed.
type SavedFault = (String, FindingKind, String, Timestamp, bool);

fn saved((name, fault): (&ObjectName, &Fault)) -> SavedFault {
    (name.to_string(), fault.kind, fault.detail.clone(), fault.seen_at, fault.needed)
}

impl Ledger {
    /// A text for [`restore`](Self::restore).
    pub fn save(&self) -> String {
        let (tokens, filled) = self.budget.saved();
        let faults = self.objects.iter().filter_map(|(name, record)| Some(saved((name, record.fault.as_deref()?))));
        let related = self.odd().related.iter().map(|(name, fault)| saved((name, fault)));
        let read_at = self.objects.iter().filter_map(|(name, record)| Some((name.to_string(), record.read_at?)));
        let (left, refilled) = self.rereading.saved();
        let saved = Saved {
            hex_levels: self.keys == LevelKeys::Hex,
            begun: self.begun,
            tokens,
            filled,
            counts: [self.structure_verified, self.content_verified, self.read_bytes, self.conflicts],
            marks: self.marks.iter().map(ToString::to_string).collect(),
            objects: self.objects.iter().map(|(name, record)| line(*name, record)).collect(),
            faults: faults.collect(),
            related: related.collect(),
            read_at: read_at.collect(),
            reread: (self.reread, self.reread_bytes, left, refilled),
        };
        serde_json::to_string(&saved).unwrap_or_default()
    }

    /// Hashes what [`save`](Self::save) is worth saving again for.
    pub fn hash_objects(&self, hasher: &mut impl Hasher) {
        [self.structure_verified, self.content_verified, self.conflicts, self.reread].hash(hasher);
        for (name, record) in self.objects.iter() {
            name.hash(hasher);
            (record.size, record.modified, record.content).hash(hasher);
            record.fault.as_ref().map(|fault| fault.kind).hash(hasher);
        }
        self.odd().related.iter().for_each(|(name, fault)| (name, fault.kind).hash(hasher));
    }

    /// Takes over what was saved; whether there was anything.
    pub fn restore(&mut self, text: &str) -> bool {
        let Ok(saved) = serde_json::from_str::<Saved>(text) else { return false };
        self.keys = if saved.hex_levels { LevelKeys::Hex } else { LevelKeys::Plain };
        self.begun = saved.begun;
        self.restored = true;
        self.budget.restore((saved.tokens, saved.filled));
        [self.structure_verified, self.content_verified, self.read_bytes, self.conflicts] = saved.counts;
        let marks = saved.marks.iter().filter_map(|mark| ObjectName::parse(mark));
        marks.for_each(|mark| self.set_mark(mark));
        let objects = saved.objects.iter().take(2 * VERIFIED_OBJECTS_MAX).filter_map(|text| read(text));
        self.objects = objects.collect();
        for (name, kind, detail, seen_at, needed) in saved.faults {
            let record = ObjectName::parse(&name).and_then(|name| self.objects.get_mut(&name));
            if let Some(record) = record {
                if kind == FindingKind::Vanished {
                    record.missing = MISSED_TWICE;
                }
                record.fault = Some(Box::new(Fault { kind, detail, seen_at, needed }));
            }
        }
        for (name, kind, detail, seen_at, needed) in saved.related.into_iter().take(VERIFIED_OBJECTS_MAX) {
            let Some(name) = ObjectName::parse(&name) else { continue };
            self.odd_mut().related.push((name, Fault { kind, detail, seen_at, needed }));
        }
        for (name, at) in saved.read_at {
            if let Some(record) = ObjectName::parse(&name).and_then(|name| self.objects.get_mut(&name)) {
                record.read_at = Some(at);
            }
        }
        let (reread, bytes, left, refilled) = saved.reread;
        (self.reread, self.reread_bytes) = (reread, bytes);
        self.rereading.restore((left, refilled));
        true
    }
}

/// `name size modified content planned facts…`, numbers in hexadecimal.
fn line(name: ObjectName, record: &Record) -> String {
    let modified = record.modified.as_nanosecond();
    let (content, planned) = (u8::from(record.content), u8::from(record.planned));
    let facts = match record.facts {
        None => "-".to_owned(),
        Some(Facts::Ltx { page_size, commit, checksum, blocks, dense_from }) => {
            format!("l {page_size:x} {commit:x} {checksum:x} {:x} {dense_from:x}", u8::from(blocks))
        }
        Some(Facts::Segment { end, checksum, is_cut }) => {
            format!("w {end:x} {checksum:x}{}", if is_cut { " 1" } else { "" })
        }
        Some(Facts::Snapshot) => "s".to_owned(),
    };
    format!("{name} {:x} {modified} {content:x} {planned:x} {facts}", record.size)
}

fn read(line: &str) -> Option<(ObjectName, Record)> {
    let mut words = line.split(' ');
    let name = ObjectName::parse(words.next()?)?;
    let size = u64::from_str_radix(words.next()?, 16).ok()?;
    let modified = Timestamp::from_nanosecond(words.next()?.parse().ok()?).ok()?;
    let (content, planned) = (words.next()? == "1", words.next()? == "1");
    let kind = words.next()?;
    let numbers: Vec<u64> = words.map(|word| u64::from_str_radix(word, 16)).collect::<Result<_, _>>().ok()?;
    let small = |at: usize| numbers.get(at).and_then(|number| u32::try_from(*number).ok());
    let facts = match (kind, numbers.as_slice()) {
        ("-", []) => None,
        ("l", [_, _, checksum, blocks, _]) => Some(Facts::Ltx {
            page_size: small(0)?,
            commit: small(1)?,
            checksum: *checksum,
            blocks: *blocks == 1,
            dense_from: small(4)?,
        }),
        ("w", [end, checksum, cut @ ..]) if cut.len() < 2 => {
            Some(Facts::Segment { end: *end, checksum: *checksum, is_cut: !cut.is_empty() })
        }
        ("s", []) => Some(Facts::Snapshot),
        _ => return None,
    };
    let mut record = Record::new(size, modified, planned);
    (record.content, record.facts) = (content, facts);
    Some((name, record))
}
