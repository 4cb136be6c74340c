//! All of it in one sentence, and what the parts of the front page are made of.

use jiff::Timestamp;
use maud::{Markup, html};

use super::state::mark;
use super::words::clock;
use crate::delivery::render::html::LINE;
use crate::domain::human::{self, agree};
use crate::domain::report::{Block, Report};
use crate::domain::verdict::{Severity, Status, Word};

/// A replica, or a database without one, and the word of the checks on it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) block: Block<'a>,
    pub(super) word: Word,
    /// Something fails that is more than a note, whatever else is unknown.
    pub(super) needy: bool,
}

impl<'a> Line<'a> {
    pub(super) fn of(block: Block<'a>) -> Self {
        let needy = block.verdicts().any(|verdict| verdict.status == Status::Fail && verdict.severity > Severity::Info);
        Self { block, word: Word::of(block.verdicts()), needy }
    }

    /// It needs nobody, and too little is known of it.
    pub(super) fn is_unknown(&self) -> bool {
        !self.needy && self.word != Word::Ok
    }
}

/// The lines of a report, in the order of their names, and what they come to.
pub(super) struct Overview<'a> {
    pub(super) report: &'a Report,
    pub(super) now: Timestamp,
    pub(super) lines: Vec<Line<'a>>,
    /// Databases for which somebody has to do something.
    pub(super) needy: usize,
    /// Databases of which too little is known, and nothing that needs anybody.
    unknown: usize,
    /// All others.
    safe: usize,
    /// Up to when every line that is ok is safe; `None` where that is not known of each.
    safe_until: Option<Timestamp>,
    /// The word of the agent's own checks.
    agent: Word,
}

impl<'a> Overview<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let lines: Vec<_> = report.blocks().map(Line::of).collect();
        let (mut needy, mut unknown, mut safe) = (0, 0, 0);
        for of_one in lines.chunk_by(|one, other| std::ptr::eq(one.block.database, other.block.database)) {
            let count = match of_one {
                _ if of_one.iter().any(|line| line.needy) => &mut needy,
                _ if of_one.iter().any(Line::is_unknown) => &mut unknown,
                _ => &mut safe,
            };
            *count += 1;
        }
        let sound = lines.iter().filter(|line| line.word == Word::Ok);
        let points: Option<Vec<_>> = sound.map(|line| line.block.replica?.recovery_point).collect();
        let safe_until = points.and_then(|points| points.into_iter().min());
        let agent = &report.verdicts.agent;
        let agent = if agent.is_empty() { Word::Ok } else { Word::of(agent.iter()) };
        Self { report, now: report.generated_at, lines, needy, unknown, safe, safe_until, agent }
    }

    /// The word of everything, as the exit code of `check` has it.
    pub(super) fn word(&self) -> Word {
        self.report.word()
    }

    /// In a few words, for the title.
    pub(super) fn title(&self) -> String {
        let Self { needy, unknown, .. } = *self;
        match (needy, unknown) {
            _ if self.lines.is_empty() => "nothing is watched".to_owned(),
            (0, 0) => match self.word() {
                Word::Ok => "all safe".to_owned(),
                Word::Unknown => "not all is known".to_owned(),
                Word::Warning | Word::Critical => "streamgauge needs you".to_owned(),
            },
            (needy, 0) => format!("{needy} {} you", agree(&needy, "needs", "need")),
            (0, unknown) => format!("{unknown} unknown"),
            (needy, unknown) => format!("{needy} {} you, {unknown} unknown", agree(&needy, "needs", "need")),
        }
    }

    /// `3 of 214 databases need you, 1 is unknown, everything else is safe up to 14:03:20 UTC.`
    pub(super) fn sentence(&self) -> Markup {
        let Self { needy, unknown, safe, .. } = *self;
        let all = human::counted(needy + unknown + safe, "database");
        let until = match self.safe_until {
            Some(at) => html! { "safe up to " (clock(at, self.now)) },
            None => html! { "without findings, but how far it is safe is unknown" },
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
            @match self.agent {
                Word::Ok => {}
                Word::Unknown => { " Not all is known of streamgauge itself." }
                Word::Warning | Word::Critical => { " streamgauge itself needs you." }
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
