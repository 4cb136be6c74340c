//! The files of one database on its page: size, WAL, write rates, disk, permissions, and what runs beside it.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words::{ago, known};
use crate::delivery::render::html::LINE;
use crate::domain::assessment::{DatabaseReport, FilesystemReport, LocalReport};
use crate::domain::human::{self, printable};

pub(super) fn section(database: &DatabaseReport, now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="files" {
            h2 #files { "Database files" } (LINE)
            @match &database.local {
                Some(local) => { p.quiet { code { (printable(&local.path)) } } (facts(local, now)) }
                None => { p.unknown { "Unknown: its state is " (database.state.as_str()) "." } }
            }
        }
        (LINE)
    }
}

fn facts(local: &LocalReport, now: Timestamp) -> Markup {
    let advice = local.sizing.advice(local.size_bytes);
    html! {
        dl.facts {
            dt { "Read" } dd {
                (ago(local.observed_at, now))
                @if local.polled { ", in turn: its filesystem does not report changes" }
            }
            dt { "Size" } dd {
                (human::bytes(local.size_bytes)) " in pages of " (human::bytes(u64::from(local.page_size)))
                @if let Some(then) = local.sizing.projected_size_bytes { ", " (human::bytes(then.max(0.0) as u64)) " in 30 days" }
            }
            dt { "WAL" } dd {
                @match local.wal_size_bytes { Some(bytes) => { (human::bytes(bytes)) } None => { "none" } }
                @if !local.journal_mode_wal { ", " span.bad { "not in WAL mode" } }
                @if let Some(bytes) = local.unbackfilled_bytes() { ", " (human::bytes(bytes)) " not checkpointed" }
            }
            dt { "Last commit" } dd { (known(local.last_commit_at.map(|at| ago(at, now)))) }
            dt { "Written" } dd {
                (known(local.rates.map(|rates| html! {
                    (format!("{:.2}", rates.write_transactions_per_second)) " transactions a second, "
                    (human::bytes(rates.written_bytes_per_second.max(0.0) as u64)) " a second over " (human::duration(rates.window_seconds))
                })))
            }
            dt { "Sizing" } dd {
                @for advice in &advice { div { (advice) } }
                @if advice.is_empty() { "nothing is advised at this size" }
            }
            @for (name, filesystem) in [("Disk", local.filesystem.as_ref()), ("Disk of Litestream", local.staging_filesystem.as_deref())] {
                @if let Some(filesystem) = filesystem { dt { (name) } dd { (disk(filesystem)) } }
            }
            dt { "Permissions" } dd {
                @for (index, mode) in local.modes.iter().enumerate() {
                    @if index > 0 { ", " }
                    (mode.found.file.as_str()) " " code { (format!("{:04o}", mode.found.mode)) }
                    @if let Some(problem) = &mode.problem { " " span class=(if mode.harmless { "unknown" } else { "bad" }) { (printable(problem)) } }
                }
                @if local.modes.is_empty() { span.unknown { "unknown" } }
            }
            @if let Some(litestream) = &local.litestream {
                dt { "Litestream" } dd {
                    (known(litestream.up.map(|up| html! { (if up { "runs" } else { "does not run" }) })))
                    ": " (printable(&litestream.evidence.to_string()))
                }
            }
            dt { "File and WAL" } dd { (printable(&local.replacement.evidence.to_string())) }
        }
        (LINE)
    }
}

fn disk(filesystem: &FilesystemReport) -> Markup {
    let space = filesystem.space;
    html! {
        (human::bytes(space.avail_bytes)) " free of " (human::bytes(space.size_bytes))
        @match filesystem.filling_bytes_per_second {
            None => { span.quiet { "; how fast it fills is not known yet" } }
            Some(filling) if filling > 0.0 => { "; full in " (human::duration(space.avail_bytes as f64 / filling)) }
            Some(_) => { "; not filling" }
        }
    }
}
