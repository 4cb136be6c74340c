//! The table of databases: a row for each replica and for each database that has none, as many as one page has.

use jiff::Timestamp;
use maud::{Markup, html};

use super::overview::{Line, Overview};
use super::query::{ORDERS, Order, Query, Rows};
use super::state::{badge, mark};
use super::table::{cell, with_heads};
use super::words::{self, age, doubt, known, safe_until, since};
use crate::delivery::render::html::LINE;
use crate::delivery::render::timeline;
use crate::domain::drill::{DrillReport, DrillResult};
use crate::domain::human;
use crate::domain::verdict::Word;

pub(super) fn section(overview: &Overview<'_>, query: &Query) -> Markup {
    if overview.lines.is_empty() {
        return Markup::default();
    }
    let rows = query.rows(overview);
    html! {
        section aria-labelledby="databases" {
            h2 #databases { "Databases" } (LINE)
            div.tools { (search(query)) (states(query, &rows)) } (LINE)
            @if !rows.lines.is_empty() {
                (with_heads(&html! { @for order in &ORDERS { (heading(query, order)) } }, rows.lines.iter().map(|line| row(line, overview.now))))
            }
            (pages(query, &rows))
        }
        (LINE)
    }
}

fn search(query: &Query) -> Markup {
    html! {
        form role="search" action="/" {
            label for="q" { "Search" }
            input #q name="q" type="search" value=(query.search) placeholder="name, place or check" autocomplete="off" spellcheck="false";
            @if let Some(state) = query.state { input type="hidden" name="state" value=(state.as_str()); }
            @if let Some(sort) = query.sort() { input type="hidden" name="sort" value=(sort); }
            button { "Find" }
        }
    }
}

/// The counts of each state, which show only those.
fn states(query: &Query, rows: &Rows<'_>) -> Markup {
    let of = |state: Option<Word>| Query { state, ..query.clone() }.at(1);
    let current = |state| (query.state == state).then_some("true");
    html! {
        nav.states aria-label="States" {
            a href=(of(None)) aria-current=[current(None)] { "all " span.count { (rows.found.iter().sum::<usize>()) } }
            @for word in Word::ALL.iter().rev() {
                a href=(of(Some(*word))) aria-current=[current(Some(*word))] {
                    (mark(*word)) " " (word.as_str()) " " span.count { (rows.found[*word as usize]) }
                }
            }
        }
    }
}

/// The heading of a column, which sorts by it, and the other way round when it already does.
fn heading(query: &Query, order: &'static Order) -> Markup {
    let sorted = query.order.word == order.word;
    let address = Query { order, reversed: sorted && !query.reversed, ..query.clone() }.at(1);
    let (direction, arrow) = if query.reversed { ("descending", " ↑") } else { ("ascending", " ↓") };
    html! {
        th scope="col" role="columnheader" class=(order.word) aria-sort=[sorted.then_some(direction)] {
            a href=(address) { (order.heading) @if sorted { span aria-hidden="true" { (arrow) } } }
        }
    }
}

/// The pages before and after this one.
fn pages(query: &Query, rows: &Rows<'_>) -> Markup {
    html! {
        nav.pages aria-label="Pages of the table" {
            @if rows.page > 1 { a rel="prev" href=(query.at(rows.page - 1)) { "← previous" } }
            span { (rows.said()) }
            @if rows.page < rows.pages { a rel="next" href=(query.at(rows.page + 1)) { "next →" } }
        }
    }
}

fn row(line: &Line<'_>, now: Timestamp) -> Markup {
    let (database, replica) = (line.block.database, line.block.replica);
    let name = html! {
        (words::database(&database.name))
        @match replica {
            Some(replica) => { span.quiet { " → " (human::printable(&replica.name)) } }
            None => { span.quiet { " no replica" } }
        }
    };
    let cells = [
        badge(line.word),
        name,
        replica.map_or_else(|| known(None), |replica| safe_until(replica, now)),
        known(replica.and_then(|replica| replica.at_risk_words()).map(|much| html! { (much) })),
        known(band(line, now)),
        drill(replica.and_then(|replica| replica.drill.as_deref()), now),
    ];
    html! { @for (order, content) in ORDERS.iter().zip(&cells) { (cell(order.heading, order.word, content)) } }
}

/// The coverage map, over all of it.
fn band(line: &Line<'_>, now: Timestamp) -> Option<Markup> {
    let replica = line.block.replica?;
    let map = replica.timeline.as_ref()?;
    let from = timeline::window(map, None, now)?;
    let span = match map.since {
        Some(since) => format!("back {}", age(since, now)),
        None => "nothing restores".to_owned(),
    };
    let gaps = (map.gaps > 0).then(|| format!(", {}", human::counted(map.gaps, "gap")));
    Some(html! {
        (timeline::svg(map, from, now, replica.recovery_point))
        span.quiet { (span) (gaps.unwrap_or_default()) }
        (doubt(replica, map))
    })
}

/// The last restore drill: its result, when it was and how fast; and whether one is running, or why none is.
fn drill(drill: Option<&DrillReport>, now: Timestamp) -> Markup {
    let Some(drill) = drill else { return html! { span.quiet { "none" } } };
    let last = drill.history.last.as_ref();
    html! {
        @match last {
            Some(last) => {
                span class=(drill_class(last.result)) { (last.result.as_str()) } " " (since(last.finished_at, now))
                @if let Some(seconds) = last.restore_seconds { span.quiet { ", restored in " (human::duration(seconds)) } }
            }
            None => { span.quiet { "none yet" } }
        }
        @if let Some(since) = drill.running_since { span.quiet { ", running for " (age(since, now)) } }
        @else if let Some(withheld) = &drill.withheld { span.quiet { ", withheld: " (human::printable(withheld)) } }
    }
}

pub(super) fn drill_class(result: DrillResult) -> &'static str {
    match result {
        DrillResult::Passed => "good",
        DrillResult::Failed => "bad",
        DrillResult::Inconclusive => "unknown",
    }
}
