//! A report as it is scraped, made out of the one before: databases in which nothing changed are neither rendered nor
//! compressed again.
//!
//! All samples of a family have to stand together, so that every database is in a hundred places of the text. It is kept
//! as compressed pieces, one for each number of each group of neighbours, and a piece is made again when a value in it
//! changed. What is served is those pieces in a row: as they are, or unpacked on their way.

mod families;
mod groups;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Decompress;

use self::families::{DESCRIBED, Part, is_of_databases, pack};
use self::groups::{Earlier, Group, ends, have_the_same_names, is_unchanged, ranges};
use super::packed::{GZIP_HEAD, GZIP_TAIL_BYTES, Packed, Packer, Piece, Sum};
use crate::delivery::render::held::{Held, Share};
use crate::delivery::render::pieces::Pieces;
use crate::domain::assessment::Totals;
use crate::domain::limits::INLINE_RENDER_TARGETS_MAX;
use crate::domain::number;
use crate::domain::report::Report;

/// An answer is handed out in pieces of at least this size, but for the last one.
const FRAME_BYTES: usize = 64 << 10;

/// The formats of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

/// Every number of one report.
#[derive(Debug)]
pub struct Exposition {
    report: Arc<Report>,
    text: Arc<Text>,
}

/// It without the report, which is much larger: whoever reads slowly keeps only this.
#[derive(Debug)]
struct Text {
    databases: Arc<Databases>,
    /// The samples that belong to no database.
    others: Packed,
    /// By format: the sum of the whole text, and its compressed bytes.
    wholes: [OnceLock<(Sum, usize)>; 2],
    /// As if nothing of it belonged to other expositions as well.
    _share: Option<Share>,
}

/// Everything that belongs to a database.
#[derive(Debug)]
struct Databases {
    /// Where each group ends.
    ends: Arc<[usize]>,
    groups: Vec<Arc<Group>>,
    /// By number: the sum of the samples in all groups, and their compressed bytes.
    sums: Vec<(Sum, usize)>,
    totals: Totals,
}

impl Exposition {
    /// The exposition of a report, after the one of an earlier report. What it takes up is counted in `held`.
    pub fn after(before: Option<&Self>, report: &Arc<Report>, held: &Held) -> Self {
        let mut packer = Packer::new();
        let before = before.filter(|before| before.report.assessment.selection == report.assessment.selection);
        let databases = match before {
            Some(before) if is_unchanged(&before.report, report) => Arc::clone(&before.text.databases),
            _ => Arc::new(Databases::after(before, report, &mut packer)),
        };
        let others = number::all().enumerate().filter(|(_, number)| !is_of_databases(number)).collect();
        pack(&mut packer, others, Part::Others(Arc::clone(report), databases.totals), None);
        let others = packer.finish();
        let mut text = Text { databases, others, wholes: Default::default(), _share: None };
        // Here, where it may take its time. Hardly anybody asks for the other format.
        let (_, packed) = *text.whole(Format::OpenMetrics);
        text._share = Some(held.share(packed));
        Self { report: Arc::clone(report), text: Arc::new(text) }
    }

    /// It is one of many databases, of which at least half are other values in a later report: it holds what they were, and
    /// little of it would be kept.
    pub fn is_outdated_by(&self, report: &Report) -> bool {
        let (before, now) = (&self.report.assessment.databases, &report.assessment.databases);
        let changed = before.iter().zip(now).filter(|(before, now)| !Arc::ptr_eq(before, now)).count();
        now.len() > INLINE_RENDER_TARGETS_MAX && changed >= now.len() / 2
    }

    /// How much was counted of it.
    pub fn packed_bytes(&self) -> usize {
        self.text.whole(Format::OpenMetrics).1
    }

    /// The groups of databases, for a later exposition.
    fn groups(&self) -> impl Iterator<Item = Earlier<'_>> {
        let Databases { groups, ends, .. } = &*self.text.databases;
        groups.iter().zip(ranges(ends)).map(|(group, range)| Earlier { group, report: &self.report, range })
    }

    /// What is sent to who scrapes.
    pub fn pieces(&self, format: Format, gzip: bool) -> Pieces {
        let (sum, packed) = self.text.whole(format);
        let mut scrape = Scrape { text: Arc::clone(&self.text), format, number: 0, part: 0 };
        if !gzip {
            let mut inflate = Decompress::new(false);
            let mut unpack = move |piece: Piece<'_>, out: &mut Vec<u8>| piece.unpack(&mut inflate, out).is_ok();
            return Pieces::new(sum.length.into(), std::iter::from_fn(move || scrape.frame(&[], &mut unpack)));
        }
        let (mut head, mut tail) = (&GZIP_HEAD[..], Some(sum.gzip_tail()));
        let frames = std::iter::from_fn(move || {
            let started = std::mem::take(&mut head);
            let mut add = |piece: Piece<'_>, out: &mut Vec<u8>| {
                out.extend_from_slice(piece.bytes);
                true
            };
            scrape.frame(started, &mut add).or_else(|| tail.take().map(|tail| Bytes::copy_from_slice(&tail)))
        });
        Pieces::new((packed + GZIP_HEAD.len() + GZIP_TAIL_BYTES) as u64, frames)
    }
}

impl Text {
    fn whole(&self, format: Format) -> &(Sum, usize) {
        self.wholes[format as usize].get_or_init(|| {
            let of = |piece: Option<Piece<'_>>| piece.map(|piece| (piece.sum, piece.bytes.len())).unwrap_or_default();
            let numbers = (0..=self.databases.sums.len()).flat_map(|number| {
                let samples = self.databases.sums.get(number).copied().unwrap_or_default();
                [of(self.description(format, number)), samples, of(self.others.get(number))]
            });
            numbers.fold(Default::default(), |(sum, bytes), (next, more)| (sum.and(next), bytes + more))
        })
    }

    /// What describes a number, where it has samples. Behind the last number stands the end of all.
    fn description(&self, format: Format, number: usize) -> Option<Piece<'static>> {
        let sampled = self.databases.sampled(number) || self.others.get(number).is_some();
        let last = number == self.databases.sums.len();
        DESCRIBED[format as usize].get(number).filter(|_| sampled || last)
    }
}

impl Databases {
    fn after(before: Option<&Exposition>, report: &Arc<Report>, packer: &mut Packer) -> Self {
        let databases = &report.assessment.databases;
        let ends = match before {
            Some(before) if have_the_same_names(&before.report, report) => Arc::clone(&before.text.databases.ends),
            _ => ends(databases),
        };
        let mut earlier = before.into_iter().flat_map(Exposition::groups).peekable();
        let groups = ranges(&ends).map(|range| {
            let first = &databases[range.start];
            while earlier.next_if(|before| before.order(first).is_lt()).is_some() {}
            match earlier.next_if(|before| before.order(first).is_eq()) {
                Some(before) => Group::after(&before, report, range, packer),
                None => Group::new(report, range, packer),
            }
        });
        let groups: Vec<_> = groups.collect();
        let mut sums = vec![(Sum::default(), 0); number::all().count()];
        for (number, piece) in groups.iter().flat_map(|group| group.samples.iter()) {
            let (sum, bytes) = &mut sums[number];
            (*sum, *bytes) = (sum.then(piece), *bytes + piece.bytes.len());
        }
        let totals = groups.iter().fold(Totals::default(), |all, group| all.and(group.totals));
        Self { ends, groups, sums, totals }
    }

    /// Whether a number has samples of a database.
    fn sampled(&self, number: usize) -> bool {
        self.sums.get(number).is_some_and(|(_, bytes)| *bytes > 0)
    }
}

/// A scrape that is being answered.
struct Scrape {
    text: Arc<Text>,
    format: Format,
    number: usize,
    /// Of the number: what describes it, its samples of each group and its other samples.
    part: usize,
}

impl Scrape {
    /// `started` and the pieces behind it; `None` behind the last one.
    fn frame(&mut self, started: &[u8], add: &mut dyn FnMut(Piece<'_>, &mut Vec<u8>) -> bool) -> Option<Bytes> {
        let Text { databases, others, .. } = &*self.text;
        let mut out = Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 4);
        out.extend_from_slice(started);
        while out.len() < FRAME_BYTES && self.number <= databases.sums.len() {
            let (number, part) = (self.number, self.part);
            let piece = match part.checked_sub(1) {
                None => self.text.description(self.format, number),
                Some(group) => databases.groups.get(group).map_or(others, |group| &group.samples).get(number),
            };
            self.part = match part {
                0 if !databases.sampled(number) => databases.groups.len() + 1,
                _ => part + 1,
            };
            if part > databases.groups.len() {
                (self.number, self.part) = (number + 1, 0);
            }
            if piece.is_some_and(|piece| !add(piece, &mut out)) {
                return None;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}

#[cfg(test)]
mod tests;
