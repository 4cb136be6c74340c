//! All of it in one sentence, and what the parts of the front page are made of.

use jiff::Timestamp;
use maud::{Markup, html};

use super::state::mark;
use super::words::clock;
use crate::delivery::render::html::LINE;
use crate::domain::human::{self, agree};
use crate::domain::report::{Block, Report};
use crate::domain::verdict::{Status, Word};

/// A replica, or a database without one, and the word of the checks on it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) block: Block<'a>,
    pub(super) word: Word,
}

/// The lines of a report, in the order of their names, and what they come to.
pub(super) struct Overview<'a> {
    pub(super) report: &'a Report,
    pub(super) now: Timestamp,
    pub(super) lines: Vec<Line<'a>>,
    /// Databases by the heaviest word of their replicas.
    databases: [usize; Word::ALL.len()],
    /// Up to when every line that is ok is safe; `None` where that is not known of each.
    safe_until: Option<Timestamp>,
}

impl<'a> Overview<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let line = |block: Block<'a>| Line { block, word: Word::of(block.verdicts()) };
        let lines: Vec<_> = report.blocks().map(line).collect();
        let mut databases = [0; Word::ALL.len()];
        for of_one in lines.chunk_by(|one, other| std::ptr::eq(one.block.database, other.block.database)) {
            if let Some(word) = of_one.iter().map(|line| line.word).max() {
                databases[word as usize] += 1;
            }
        }
        let safe = lines.iter().filter(|line| line.word == Word::Ok);
        let points: Option<Vec<_>> = safe.map(|line| line.block.replica?.recovery_point).collect();
        let safe_until = points.and_then(|points| points.into_iter().min());
        Self { report, now: report.generated_at, lines, databases, safe_until }
    }

    fn count(&self, word: Word) -> usize {
        self.databases[word as usize]
    }

    /// Databases for which somebody has to do something.
    pub(super) fn needy(&self) -> usize {
        self.count(Word::Critical) + self.count(Word::Warning)
    }

    /// The word of everything: of all databases, and of what fails in the agent itself.
    pub(super) fn word(&self) -> Word {
        let failing = self.report.verdicts.agent.iter().filter(|verdict| verdict.status == Status::Fail);
        let agent = failing.map(|verdict| Word::of(std::iter::once(verdict)));
        self.lines.iter().map(|line| line.word).max().map_or(Word::Unknown, |word| agent.fold(word, Word::max))
    }

    /// In a few words, for the title.
    pub(super) fn title(&self) -> String {
        match (self.needy(), self.count(Word::Unknown)) {
            _ if self.lines.is_empty() => "nothing is watched".to_owned(),
            (0, 0) if self.word() == Word::Ok => "all safe".to_owned(),
            (0, 0) => "streamgauge needs you".to_owned(),
            (needy, 0) => format!("{needy} {} you", agree(&needy, "needs", "need")),
            (0, unknown) => format!("{unknown} unknown"),
            (needy, unknown) => format!("{needy} {} you, {unknown} unknown", agree(&needy, "needs", "need")),
        }
    }

    /// `3 of 214 databases need you, 1 is unknown, everything else is safe up to 14:03:20 UTC.`
    fn sentence(&self) -> Markup {
        let (needy, unknown, safe) = (self.needy(), self.count(Word::Unknown), self.count(Word::Ok));
        let all = human::counted(needy + unknown + safe, "database");
        let until = match self.safe_until {
            Some(at) => html! { "safe up to " (clock(at, self.now)) },
            None => html! { "without a finding, but up to when it is safe is unknown" },
        };
        html! {
            @match (needy, unknown, safe) {
                (0, 0, 0) => { "No databases are watched." }
                (0, 0, 1) => { "The one database is " (until) "." }
                (0, 0, _) => { "All " (all) " are " (until) "." }
                _ => {
                    @if needy > 0 { (needy) " of " (all) " " (agree(&needy, "needs", "need")) " you" }
                    @if needy > 0 && unknown > 0 { ", " (unknown) " " (agree(&unknown, "is", "are")) " unknown" }
                    @if needy == 0 { (unknown) " of " (all) " " (agree(&unknown, "is", "are")) " unknown" }
                    @if safe > 0 { ", everything else is " (until) }
                    "."
                }
            }
        }
    }

    /// The sentence as a heading, and of when it is.
    pub(super) fn headline(&self) -> Markup {
        let over = self.report.assessment.over_limit;
        html! {
            div class={ "headline " (self.word().as_str()) } {
                h1 { (mark(self.word())) " " (self.sentence()) }
                p.quiet {
                    "As of " (clock(self.now, self.now)) "."
                    @if !self.report.assessment.complete { " Not everything has been looked at since the start." }
                }
            }
            (LINE)
            @if over > 0 {
                p.bad { (human::counted(over, "database")) " beyond the limit of one agent "
                    (agree(&over, "is", "are")) " not watched." } (LINE)
            }
        }
    }
}
