//! What needs somebody, and what is unknown: worst first, in words, and once where many databases have the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use maud::{Markup, PreEscaped, Render, html};

use super::overview::{Line, Overview};
use super::state::badge;
use super::words::{self, encoded, exposure};
use crate::delivery::render::html::LINE;
use crate::delivery::render::markdown::inline;
use crate::domain::check::{Check, catalogue};
use crate::domain::human;
use crate::domain::limits::{PAGE_CARDS_MAX, PAGE_NAMES_MAX};
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::verdict::{Severity, Status, Verdict, Word};

/// A verdict that counts, its check, and where that stands in the catalogue.
struct Finding<'a> {
    /// `None`: it is about the agent.
    database: Option<&'a str>,
    verdict: &'a Verdict,
    check: &'static Check,
    order: usize,
}

/// Each check by its name, with its place in the catalogue.
static CATALOGUE: LazyLock<HashMap<&str, (usize, &Check)>> =
    LazyLock::new(|| catalogue().enumerate().map(|(order, check)| (check.name, (order, check))).collect());

/// The lines that need somebody, the worst first.
pub(super) fn needs(overview: &Overview<'_>) -> Markup {
    let cards = Cards::of(overview.lines.iter().filter(|line| line.needy));
    section("Needs you", &cards.render(overview), agent(overview.report, Status::Fail))
}

/// The lines of which the checks know nothing.
pub(super) fn unknown(overview: &Overview<'_>) -> Markup {
    let cards = Cards::of(overview.lines.iter().filter(|line| line.is_unknown()));
    section("Unknown", &cards.render(overview), agent(overview.report, Status::Unknown))
}

/// Nothing where there are no cards. What the agent itself lacks comes after what is about to be lost.
fn section(heading: &str, cards: &Markup, agent: Option<Markup>) -> Markup {
    let id = heading.to_lowercase().replace(' ', "-");
    html! {
        @if !cards.0.is_empty() || agent.is_some() {
            section aria-labelledby=(id) {
                h2 id=(id) { (heading) } (LINE)
                (cards)
                @if let Some(agent) = agent { (agent) }
            }
            (LINE)
        }
    }
}

/// The findings on one line.
pub(super) fn on(line: &Line<'_>) -> Markup {
    html! { (reasons(line)) (list(&of_line(line), 1)) }
}

/// What fails on a line, and, where that makes its word, what is unknown.
fn of_line<'a>(line: &Line<'a>) -> Vec<Finding<'a>> {
    let name = Some(line.block.database.name.as_str());
    let mut found = findings(name, line.block.verdicts(), Status::Fail);
    if line.word == Word::Unknown {
        found.extend(findings(name, line.block.verdicts(), Status::Unknown));
    }
    found
}

/// Those of one status that are more than notes, the worst first.
fn findings<'a>(
    database: Option<&'a str>,
    verdicts: impl Iterator<Item = &'a Verdict>,
    status: Status,
) -> Vec<Finding<'a>> {
    let counts = |verdict: &&Verdict| verdict.status == status && verdict.severity > Severity::Info;
    let found = verdicts.filter(counts).filter_map(|verdict| {
        let (order, check) = *CATALOGUE.get(verdict.check)?;
        Some(Finding { database, verdict, check, order })
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|found| (std::cmp::Reverse(found.verdict.severity), found.order));
    found
}

/// The agent's own checks of one status, as a card.
fn agent(report: &Report, status: Status) -> Option<Markup> {
    let found = findings(None, report.verdicts.agent.iter(), status);
    let word = Word::of(found.iter().map(|found| found.verdict));
    let card = html! {
        article class={ "card " (word.as_str()) } {
            h3 { (badge(word)) " streamgauge itself" }
            (list(&found, 1))
        }
        (LINE)
    };
    (!found.is_empty()).then_some(card)
}

/// Lines with the same findings, in groups, the worst first.
struct Cards<'a>(Vec<(Vec<Finding<'a>>, Vec<&'a Line<'a>>)>);

impl<'a> Cards<'a> {
    fn of(lines: impl Iterator<Item = &'a Line<'a>>) -> Self {
        let mut groups: HashMap<_, (Vec<Finding<'a>>, Vec<&'a Line<'a>>)> = HashMap::new();
        for line in lines {
            let found = of_line(line);
            let key = |found: &Finding<'_>| {
                let Finding { verdict, order, .. } = found;
                (std::cmp::Reverse((verdict.status, verdict.severity)), *order)
            };
            let same: Vec<_> = found.iter().map(key).collect();
            groups.entry((std::cmp::Reverse(line.word), same)).or_insert((found, Vec::new())).1.push(line);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(groups.into_iter().map(|(_, group)| group).collect())
    }

    fn render(&self, overview: &Overview<'_>) -> Markup {
        html! {
            @for (found, lines) in self.0.iter().take(PAGE_CARDS_MAX) { (card(overview, found, lines)) (LINE) }
            @if let Some(more @ 1..) = self.0.len().checked_sub(PAGE_CARDS_MAX) {
                p { "and " (more) " more " (human::agree(&more, "group", "groups")) ": see the table below." } (LINE)
            }
        }
    }
}

fn card(overview: &Overview<'_>, found: &[Finding<'_>], lines: &[&Line<'_>]) -> Markup {
    let Some(first) = lines.first() else { return Markup::default() };
    html! {
        article class={ "card " (first.word.as_str()) } {
            @if lines.len() == 1 {
                h3 { (badge(first.word)) " " (subject(first)) }
                p.lost { (exposure(&first.block, overview.now)) }
            } @else {
                @let noun = if first.block.replica.is_some() { "replica" } else { "database" };
                h3 { (badge(first.word)) " " (human::counted(lines.len(), noun)) " with the same findings" }
                ul.names {
                    @for line in lines.iter().take(PAGE_NAMES_MAX) {
                        li { (subject(line)) " " span.lost { (exposure(&line.block, overview.now)) } }
                    }
                    @if let Some(more @ 1..) = lines.len().checked_sub(PAGE_NAMES_MAX) {
                        li { a href=(all_of(first.word, found)) { "and " (more) " more" } }
                    }
                }
            }
            // What was read of one is not what was read of all.
            @if lines.len() == 1 { (reasons(first)) }
            (list(found, lines.len()))
        }
    }
}

/// Where the table shows all with the same first finding.
fn all_of(word: Word, found: &[Finding<'_>]) -> String {
    let check = found.first().map_or("", |found| found.check.name);
    format!("/?q={}&state={}", encoded(check), word.as_str())
}

/// `app → s3`, with a link.
fn subject(line: &Line<'_>) -> Markup {
    html! {
        (words::database(&line.block.database.name))
        @if let Some(replica) = line.block.replica { span.quiet { " → " (human::printable(&replica.name)) } }
    }
}

/// Why the files or the replica could not be read.
fn reasons(line: &Line<'_>) -> Markup {
    let replica = line.block.replica.and_then(|replica| replica.reason.as_deref());
    // What a finding says as well is said there, but for what would help.
    let known = |reason: &&Reason| {
        reason.hint.is_some() || !line.block.verdicts().any(|verdict| *verdict.detail == *reason.message)
    };
    let reasons = line.block.database.reason.as_deref().into_iter().chain(replica).filter(known);
    html! { @for reason in reasons { (words::reason(reason)) } }
}

/// Each finding with what was seen, what to do and where more is said; the same words once. `of`: how many lines have them.
fn list(found: &[Finding<'_>], of: usize) -> Markup {
    let mut said: Vec<(&Finding<'_>, Vec<&str>)> = Vec::new();
    for one in found {
        let same = |(other, _): &&mut (&Finding<'_>, Vec<&str>)| {
            one.verdict.status == Status::Unknown && one.verdict.detail == other.verdict.detail
        };
        match said.iter_mut().find(same) {
            Some((_, names)) => names.push(one.check.name),
            None => said.push((one, vec![one.check.name])),
        }
    }
    html! { ul.findings { @for (one, names) in &said { (finding(one, names, of)) } } }
}

fn finding(Finding { database, verdict, check, .. }: &Finding<'_>, names: &[&str], of: usize) -> Markup {
    let values = [*database, verdict.replica.as_deref()];
    let values: Vec<&str> = values.into_iter().flatten().collect();
    let fails = verdict.status == Status::Fail;
    html! {
        li {
            @if fails { strong { (summary(check, &values)) ":" } " " }
            (human::printable(&verdict.detail)) "."
            @if of > 1 { span.quiet { " (the first of " (of) ")" } }
            @if fails { " " span.action { (action(check, &values)) } }
            " " span.more {
                "Runbook: "
                @for (index, name) in names.iter().enumerate() { @if index > 0 { ", " } (words::runbook_link(name)) }
            }
        }
    }
}

/// What to do. A name is no Markdown, whatever is in it.
fn action(check: &Check, values: &[&str]) -> Markup {
    let escaped: Vec<String> = values.iter().map(|value| human::printable(value).render().into_string()).collect();
    PreEscaped(check.fill(&inline(check.action).into_string(), &escaped))
}

/// The summary without the name, which stands above.
fn summary(check: &Check, values: &[&str]) -> String {
    let text = check.summary;
    let text = ["{database}: ", "streamgauge: "].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text);
    // What a database is called stays as it is.
    let begins_with_a_name = text.starts_with('{');
    let text = check.fill(text, values);
    if text.contains('{') {
        // A verdict on the agent names its subject in what was seen only.
        return check.name.to_owned();
    }
    if begins_with_a_name {
        return text;
    }
    let first = text.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    first + text.get(text.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default()
}
