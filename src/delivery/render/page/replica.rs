//! One replica on the page of its database: what restores, the drills, and what the last looks saw.

use jiff::Timestamp;
use maud::{Markup, html};

use super::databases::drill_class;
use super::words::{ago, clock, doubt, known, monthly, safe_until};
use crate::delivery::render::html::LINE;
use crate::delivery::render::timeline;
use crate::domain::assessment::{CoverageReport, DatabaseReport, ReplicaReport};
use crate::domain::drill::{DrillRecord, DrillReport};
use crate::domain::human::{self, printable};
use crate::domain::limits::PAGE_FINDINGS_MAX;
use crate::domain::spot::SpotReport;
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::VerificationReport;

pub(super) fn section(database: &DatabaseReport, replica: &ReplicaReport, now: Timestamp) -> Markup {
    let id = format!("replica-{}", printable(&replica.name).replace(char::is_whitespace, "-"));
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { "Replica " (printable(&replica.name)) }
            p.quiet { code { (printable(&replica.url)) } }
            (proof(database, replica, now))
            h3 { "What restores" }
            @match replica.timeline.as_deref() {
                Some(map) => { (restorable(replica, map, &id, now)) }
                None => { p.unknown { "Unknown: not everything in the replica has been listed." } }
            }
            (objects(replica))
            h3 { "Restore drills" }
            (drills(replica.drill.as_deref(), &id, now))
            h3 { "What the last looks saw" }
            (looks(database, replica, now))
            @if let Some(coverage) = &replica.coverage { (levels(coverage, &id, now)) }
        }
        (LINE)
    }
}

/// The recovery point, and how it is known.
fn proof(database: &DatabaseReport, replica: &ReplicaReport, now: Timestamp) -> Markup {
    html! {
        dl.facts {
            dt { "Safe until" } dd { (safe_until(replica, now)) }
            dt { "Behind" } dd {
                (known(replica.lag_words().map(|lag| html! { (lag) }))) span.quiet { " (objective " (human::duration(database.rpo_seconds)) ")" }
            }
            dt { "Could be lost" } dd {
                (known(replica.at_risk_words().map(|much| html! { (much) })))
                @if let Some(since) = replica.unreplicated_since { ", written since " (clock(since, now)) }
            }
            dt { "Proven" } dd {
                (known(replica.verified_at.map(|at| ago(at, now))))
                @if let Some(method) = replica.method { ", by " (method.as_str()) }
            }
        }
    }
}

/// The band, and in words what is in the way.
fn restorable(replica: &ReplicaReport, map: &TimelineReport, id: &str, now: Timestamp) -> Markup {
    let from = timeline::window(map, None, now);
    let blocked = map.spans.iter().filter_map(|span| Some((span, span.blocked.as_ref()?)));
    html! {
        @if let Some(from) = from {
            div.wide { (timeline::svg(map, from, now, replica.recovery_point)) }
            div.axis { (clock(from, now)) (clock(now, now)) }
        }
        p { @if map.since.is_some() { "Restores " } (timeline::sentence(map, now)) "." (doubt(replica, map)) }
        @for (span, blocked) in blocked.take(PAGE_FINDINGS_MAX) {
            p.bad {
                "Nothing between " (clock(span.from, now)) " and " (clock(span.until, now)) " restores: " (printable(&blocked.detail))
                @if let Some(key) = &blocked.key { " (" code { (printable(key)) } ")" }
            }
        }
        @for caveat in &map.caveats { p.hint { "Litestream " (printable(&caveat.releases)) ": " (printable(&caveat.detail)) } }
        details id={ "spans-" (id) } {
            summary { "Each stretch, and how exact it is" }
            p.quiet { (timeline::LEGEND) }
            ul.plain { @for line in timeline::lines(map, false) { li { (line) } } }
        }
    }
}

/// Objects with problems.
fn objects(replica: &ReplicaReport) -> Markup {
    let findings = replica.verification.as_ref().map_or(&[][..], |verification| &verification.findings);
    html! {
        @if !findings.is_empty() {
            h3 { "Objects with problems" }
            ul.plain {
                @for found in findings.iter().take(PAGE_FINDINGS_MAX) {
                    li {
                        span class=(if found.needed { "bad" } else { "unknown" }) { (found.kind.as_str()) } " "
                        code { (printable(&found.key)) } ": " (printable(&found.detail)) " ("
                        (if found.needed { "a restore needs it" } else { "the latest state restores without it" })
                        "; found " (human::instant(found.seen_at)) ")"
                    }
                }
                @if let Some(more @ 1..) = findings.len().checked_sub(PAGE_FINDINGS_MAX) {
                    li { "and " (more) " more: see " a href="/api/v1/report" { "the report" } }
                }
            }
        }
    }
}

fn drills(drill: Option<&DrillReport>, id: &str, now: Timestamp) -> Markup {
    let Some(drill) = drill else {
        return html! { p.unknown { "None: it is not drilled, or has not been listed yet." } };
    };
    let history = &drill.history;
    let next = match (drill.running_since, &drill.withheld, history.next_due_at) {
        (Some(since), ..) => html! { "running since " (clock(since, now)) },
        (None, Some(withheld), _) => html! { "withheld: " (printable(withheld)) },
        (None, None, Some(next)) => html! { (clock(next, now)) },
        (None, None, None) => html! { "not scheduled" },
    };
    html! {
        dl.facts {
            dt { "Last" } dd { @match &history.last { Some(last) => { (last_drill(last, now)) } None => { span.unknown { "none yet" } } } }
            dt { "Last that passed" } dd {
                @match history.last_success_at { Some(at) => { (ago(at, now)) } None => { span.unknown { "none" } } }
            }
            dt { "Next" } dd { (next) }
            dt { "So far" } dd {
                (history.passed) " passed, " (history.failed) " failed, " (history.inconclusive) " inconclusive"
            }
            @if let Some(rto) = drill.rto_seconds { dt { "Objective" } dd { "restored within " (human::duration(rto)) } }
            @if let Some(bytes) = drill.download_bytes { dt { "A restore downloads" } dd { "about " (human::bytes(bytes)) } }
        }
        @if let Some(last) = &history.last { (steps(last, id)) }
    }
}

fn last_drill(last: &DrillRecord, now: Timestamp) -> Markup {
    html! {
        span class=(drill_class(last.result)) { (last.result.as_str()) } " " (ago(last.finished_at, now))
        @if let Some(seconds) = last.restore_seconds { ", restored in " (human::duration(seconds)) }
        ", " (human::bytes(last.downloaded_bytes)) " in " (human::counted(last.requests, "request"))
        ", " (human::dollars(last.dollars))
        @if let Some(reason) = &last.reason { div.reason { (printable(&reason.message)) } }
        @if let Some(restored) = &last.restored {
            div.quiet { "to " (printable(&restored.position)) ", " (clock(restored.recovery_point, now)) ", " (human::bytes(restored.bytes)) }
        }
    }
}

/// What the last drill checked.
fn steps(last: &DrillRecord, id: &str) -> Markup {
    let checks = last.checks.iter().map(|check| (&check.name, check.result, &check.detail));
    let probes = last.probes.iter().map(|probe| (&probe.name, probe.result, &probe.detail));
    html! {
        @if !last.checks.is_empty() || !last.probes.is_empty() {
            details id={ "drill-" (id) } {
                summary { "What the last drill checked" }
                ul.plain {
                    @for (name, result, detail) in checks.chain(probes) {
                        li { span class=(drill_class(result)) { (result.as_str()) } " " (printable(name)) ": " (printable(detail)) }
                    }
                }
            }
        }
    }
}

/// What an expert asks: when it was looked at and how, and where both sides are.
fn looks(database: &DatabaseReport, replica: &ReplicaReport, now: Timestamp) -> Markup {
    let local = database.local.as_ref();
    let up = replica.up.map(|up| if up { "the last look succeeded" } else { "the last look failed" });
    html! {
        dl.facts {
            dt { "Look" } dd {
                (known(up.map(|up| html! { (up) }))) ", at least every " (human::duration(replica.verify_interval_seconds))
                @if replica.rests_until.is_some() { " because nothing was committed since" }
                ", watched since " (clock(replica.watched_since, now))
            }
            dt { "Layout" } dd { (known(replica.layout.map(|layout| html! { (layout.as_str()) }))) }
            dt { "Newest object" } dd { (known(replica.last_segment_at.map(|at| ago(at, now)))) }
            dt { "TXID in the replica" } dd { (txid(replica.txid)) }
            dt { "TXID that Litestream claims" } dd { (txid(local.and_then(|local| local.txid_claim))) }
            @if let Some(local) = local {
                dt { "WAL of the database" } dd {
                    (known(local.wal_frames.map(|frames| html! { (human::counted(u64::from(frames), "committed frame")) })))
                    @if let Some(copied) = local.wal_backfilled_frames { ", " (copied) " copied into the database" }
                    @if let Some(reader) = local.wal_oldest_reader_frame { ", a reader needs frame " (reader) }
                    @if let Some(since) = local.wal_since { ", since " (clock(since, now)) }
                }
            }
            @if let Some(listed) = replica.timeline.as_ref().and_then(|map| map.listed_at) {
                dt { "Everything listed" } dd { (ago(listed, now)) }
            }
            @if let Some(verification) = &replica.verification { (verified(verification)) }
            @if let Some(spot) = &replica.spot { (compared(spot, now)) }
            @if let Some(claim) = replica.beacon.as_ref().and_then(|beacon| beacon.claim.as_ref()) {
                dt { "Beacon of the database's host" } dd {
                    (printable(&claim.host)) " at " (clock(claim.written_at, now)) ", TXID " (txid(claim.txid))
                    @if let Some(at) = claim.position { ", WAL " code { (format!("{:08x} {:08x}", at.salt1, at.salt2)) } " up to byte " (at.end) }
                }
            }
            @if let Some(growth) = &replica.keeping.growth {
                dt { "Growth in " (human::duration(growth.seconds)) } dd {
                    (human::bytes(growth.received_bytes)) " received, " (human::bytes(growth.written_bytes)) " written"
                }
            }
            dt { "Storage" } dd {
                (known(replica.keeping.storage_dollars_per_month.map(|dollars| html! { (monthly(dollars)) })))
            }
        }
    }
}

fn txid(txid: Option<u64>) -> Markup {
    known(txid.map(|txid| html! { code { (format!("{txid:016x}")) } }))
}

fn verified(verification: &VerificationReport) -> Markup {
    html! {
        dt { "Objects read" } dd {
            (verification.needed_verified) " of "
            @if verification.needed_older { "the newest " }
            (verification.needed) " that a restore needs; "
            (verification.content_verified) " in full, " (verification.pending) " waiting"
        }
    }
}

fn compared(spot: &SpotReport, now: Timestamp) -> Markup {
    html! {
        dt { "Compared with the database" } dd {
            (human::counted(spot.pages_compared, "page")) ", "
            @if spot.mismatches.is_empty() { "none differs" }
            @else { span.bad { (spot.mismatches.len()) " " (human::agree(&spot.mismatches.len(), "differs", "differ")) } }
            @if let Some(at) = spot.conclusive_at { "; last " (ago(at, now)) }
            @if let Some(why) = &spot.not_compared { div.hint { (printable(why)) } }
        }
    }
}

fn levels(coverage: &CoverageReport, id: &str, now: Timestamp) -> Markup {
    html! {
        details id={ "levels-" (id) } {
            summary { (human::counted(coverage.snapshots, "snapshot")) ", and objects by level" }
            table {
                thead { tr { @for heading in ["Level", "Objects", "Size", "Newest"] { th scope="col" { (heading) } } } }
                tbody {
                    @for level in &coverage.levels {
                        tr {
                            td { (level.level) } td.number { (level.objects) } td.number { (human::bytes(level.bytes)) }
                            td { @match level.newest_at { Some(at) => { (ago(at, now)) } None => { span.quiet { "none" } } } }
                        }
                    }
                }
            }
        }
    }
}
