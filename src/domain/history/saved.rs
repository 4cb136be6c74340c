//! The history of one database as it is saved: base64 of a version, the base and each series, in little-endian numbers.
//!
//! Series name their number, so that a version with other numbers reads what it knows.

use aws_smithy_types::base64;

use super::series::{Series, Slot};
use super::{DatabaseHistory, RECORDED};

/// The first byte. A text that begins with another one was written by another version, and is dropped.
const VERSION: u8 = 1;

/// What stands for the length of the name of a replica where the series is of the database itself.
const NO_REPLICA: u16 = u16::MAX;

pub(super) fn write(history: &DatabaseHistory) -> String {
    let mut out = vec![VERSION];
    out.extend(history.base.to_le_bytes());
    for series in &history.series {
        // A name of 64 KiB is none that anything would show.
        let replica = series.replica.as_deref().map_or(Some((NO_REPLICA, "")), |name| {
            let length = u16::try_from(name.len()).ok().filter(|length| *length != NO_REPLICA)?;
            Some((length, name))
        });
        let (Some((length, replica)), Some(number)) = (replica, RECORDED.get(usize::from(series.number))) else {
            continue;
        };
        out.extend(length.to_le_bytes());
        out.extend(replica.as_bytes());
        out.extend((number.name.len() as u16).to_le_bytes());
        out.extend(number.name.as_bytes());
        out.extend((series.slots().count() as u32).to_le_bytes());
        for Slot { at, low, high, last } in series.slots() {
            out.extend(at.to_le_bytes());
            [low, high, last].iter().for_each(|value| out.extend(value.to_le_bytes()));
        }
    }
    base64::encode(out)
}

/// Reads a text, except what lies after `now`.
pub(super) fn read(text: &str, now: u32) -> Result<DatabaseHistory, &'static str> {
    let bytes = base64::decode(text).map_err(|_| "it is not base64")?;
    let mut rest = Rest(&bytes);
    if rest.array()? != [VERSION] {
        return Err("it was written by another version");
    }
    let base = u32::from_le_bytes(rest.array()?);
    let mut series: Vec<Series> = Vec::new();
    while !rest.0.is_empty() {
        let replica = match u16::from_le_bytes(rest.array()?) {
            NO_REPLICA => None,
            length => Some(rest.text(length)?),
        };
        let length = u16::from_le_bytes(rest.array()?);
        let name = rest.text(length)?;
        let mut slots = rest.slots()?;
        slots.retain(|slot| slot.at <= now);
        let Some(number) = RECORDED.iter().position(|number| number.name == name) else { continue };
        let number = number as u8;
        if series.iter().any(|series| series.is_of(replica, number)) {
            return Err("it has a series twice");
        }
        series.extend(Series::of(replica, number, slots));
    }
    Ok(DatabaseHistory { base, series })
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], &'static str> {
        self.bytes(LENGTH)?.try_into().map_err(|_| "it ends too early")
    }

    fn text(&mut self, length: u16) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes(length.into())?).map_err(|_| "a name is not UTF-8")
    }

    fn slots(&mut self) -> Result<Vec<Slot>, &'static str> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        let (slots, rest) = self.bytes(count.saturating_mul(size_of::<Slot>()))?.as_chunks::<4>();
        debug_assert!(rest.is_empty());
        let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let slots: Vec<Slot> = slots
            .chunks_exact(4)
            .map(|slot| Slot {
                at: u32::from_le_bytes(slot[0]),
                low: number(&slot[1]),
                high: number(&slot[2]),
                last: number(&slot[3]),
            })
            .collect();
        let sound = slots.iter().all(Slot::is_sound) && slots.is_sorted_by(|one, next| one.at < next.at);
        if sound { Ok(slots) } else { Err("its values cannot be") }
    }
}
