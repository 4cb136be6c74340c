//! Instants, what would be lost, and links, as all pages say them.

use jiff::Timestamp;
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::assessment::ReplicaReport;
use crate::domain::human;
use crate::domain::reason::Reason;
use crate::domain::report::Block;
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::{FindingKind, ObjectFinding};

/// What stands for itself in one part of a path, or in a parameter (RFC 3986, section 2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one part of a path, or as the value of a parameter.
pub(super) fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, PLAIN)
}

/// A link to the page of a database.
pub(super) fn database(name: &str) -> Markup {
    html! { a.name href={ "/databases/" (encoded(name)) } { (human::printable(name)) } }
}

/// A link to the runbook's section on a check.
pub(super) fn runbook_link(check: &str) -> Markup {
    html! { a href={ "/runbook/" (encoded(check)) } { (check) } }
}

/// An instant, by its time alone if it is of today.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(human::instant(at)) { (human::clock(at, now)) } }
}

/// An instant and how long ago that was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { (clock(at, now)) " " span.quiet { "(" (since(at, now)) ")" } }
}

/// How long something has lasted, in whole seconds.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    human::duration(human::age_seconds(at, now).floor())
}

/// `12s ago`.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    if human::age_seconds(at, now) < 1.0 { "just now".to_owned() } else { format!("{} ago", age(at, now)) }
}

/// What something costs.
pub(super) fn monthly(dollars: f64) -> String {
    if dollars > 0.0 { format!("{} a month", money(dollars)) } else { money(dollars) }
}

/// To the cent, and more exactly below a dollar.
pub(super) fn money(dollars: f64) -> String {
    if dollars >= 1.0 { format!("${dollars:.2}") } else { human::dollars(dollars) }
}

/// What is not known says so.
pub(super) fn known(value: Option<Markup>) -> Markup {
    value.unwrap_or_else(|| html! { span.unknown { "unknown" } })
}

/// Why something could not be looked at, and what would help.
pub(super) fn reason(reason: &Reason) -> Markup {
    html! {
        p.reason {
            (human::printable(&reason.message))
            @if let Some(hint) = &reason.hint { " " span.hint { "hint: " (human::printable(hint)) } }
        }
    }
}

/// Up to when everything that was committed can be restored.
pub(super) fn safe_until(replica: &ReplicaReport, now: Timestamp) -> Markup {
    if replica.is_broken() {
        return html! { span.bad { "does not restore" } };
    }
    known(replica.safe_until().map(|at| ago(at, now)))
}

/// What the coverage map does not show: it is made of what was listed, and of damage that was known by then.
pub(super) fn doubt(replica: &ReplicaReport, map: &TimelineReport) -> Markup {
    html! {
        @if replica.is_broken() && map.restorable_now() { " " span.bad { "The latest state cannot be restored." } }
    }
}

/// What is wrong with the objects that a restore needs.
fn harm(replica: &ReplicaReport) -> &'static str {
    let needed = || replica.verification.iter().flat_map(|found| found.needed_damaged());
    let missing = |finding: &&ObjectFinding| finding.kind == FindingKind::Vanished;
    match (needed().any(|finding| missing(&finding)), needed().all(|finding| missing(&finding))) {
        (true, true) => "missing",
        (true, false) => "missing or damaged",
        (false, _) => "damaged",
    }
}

/// Whether something would be lost, as far as is known: what would be, from when on, and how much.
pub(super) fn exposure(block: &Block<'_>, now: Timestamp) -> String {
    let Some(replica) = block.replica else { return "It has no replica: everything would be lost.".to_owned() };
    if replica.coverage.as_ref().is_some_and(|coverage| !coverage.restorable) {
        return "Nothing can be restored from it: everything would be lost.".to_owned();
    }
    if replica.is_damaged() {
        return format!("The latest state cannot be restored: objects that it needs are {}.", harm(replica));
    }
    if replica.is_broken() {
        return "The last drill could not restore it: what would be lost is unknown.".to_owned();
    }
    let seen = replica.up == Some(true);
    let at = |at| human::clock(at, now);
    let much = || replica.at_risk_words().map_or_else(String::new, |much| format!(": {much}"));
    match (replica.lag_seconds, replica.unreplicated_since, replica.recovery_point) {
        (_, Some(since), _) if !seen => {
            let unknown = "Whether they have arrived is unknown: the replica cannot be read.";
            format!("Writes since {} could be lost{}. {unknown}", at(since), much())
        }
        (Some(_), Some(since), _) => format!("Writes since {} would be lost{}.", at(since), much()),
        (Some(_), None, Some(point)) if seen => format!("Nothing is at risk: everything up to {} is safe.", at(point)),
        (_, _, Some(point)) => format!("What would be lost is unknown: the last proof is from {}.", at(point)),
        _ => "What would be lost is unknown: nothing has been proven.".to_owned(),
    }
}
