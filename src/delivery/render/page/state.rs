//! How a state looks: a word, a shape and a colour, so that none of them is needed to read it.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::verdict::{Severity, Status, Verdict, Word};

fn shape(word: Word) -> &'static str {
    match word {
        Word::Critical => "●",
        Word::Warning => "▲",
        Word::Unknown => "?",
        Word::Ok => "○",
    }
}

/// The shape alone, for where the word stands beside it.
pub(super) fn mark(word: Word) -> Markup {
    html! { span class={ "mark " (word.as_str()) } aria-hidden="true" { (shape(word)) } }
}

pub(super) fn badge(word: Word) -> Markup {
    labelled(word, word.as_str())
}

/// A badge with a word of its own.
pub(super) fn labelled(word: Word, text: &str) -> Markup {
    html! { span class={ "state " (word.as_str()) } { (mark(word)) " " (text) } }
}

/// The state of one verdict, as it counts in that of its database; a failure that is no more than a note is a note.
pub(super) fn of_verdict(verdict: &Verdict) -> Markup {
    match (verdict.status, verdict.severity) {
        (Status::Fail, Severity::Info) => labelled(Word::Ok, "note"),
        (Status::Unknown, _) => labelled(Word::Unknown, "unknown"),
        (Status::Pass, _) => labelled(Word::Ok, "pass"),
        (Status::Fail, _) => badge(Word::of(std::iter::once(verdict))),
    }
}

/// The icon of a page as the address of an image: the worst state, and how many need somebody.
pub(super) fn icon(word: Word, count: usize) -> String {
    let number = match count {
        // It is the agent itself.
        0 => "!".to_owned(),
        1..=99 => count.to_string(),
        _ => "99+".to_owned(),
    };
    let (fill, text) = match word {
        Word::Critical => ("#b23c00", number),
        Word::Warning => ("#7a5b00", number),
        Word::Unknown => ("#5c6570", "?".to_owned()),
        Word::Ok => ("#0b62a8", String::new()),
    };
    let hole = if word == Word::Ok { r##"<circle cx="16" cy="16" r="8" fill="#fff"/>"## } else { "" };
    let svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="{fill}"/>{hole}<text x="16" y="22" font-family="sans-serif" font-size="17" font-weight="700" text-anchor="middle" fill="#fff">{text}</text></svg>"##
    );
    format!("data:image/svg+xml,{}", utf8_percent_encode(&svg, NON_ALPHANUMERIC))
}
