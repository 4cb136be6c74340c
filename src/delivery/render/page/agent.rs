//! The agent itself on the front page: its configuration, what it watches and asks, whom it tells, and the bill.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words::{age, ago, known, money, monthly, since};
use crate::delivery::render::html::LINE;
use crate::domain::assessment::{AgentReport, BucketReport, ReceiverReport, SourceReport, StoreReport};
use crate::domain::human;
use crate::domain::report::Report;

pub(super) fn section(report: &Report) -> Markup {
    let (agent, now) = (&report.assessment.agent, report.generated_at);
    html! {
        section aria-labelledby="agent" {
            h2 #agent { "This agent" } (LINE)
            (facts(agent, now))
            @if !agent.sources.is_empty() {
                h3 { "Sources" }
                ul.plain { @for source in &agent.sources { (self::source(source)) } } (LINE)
            }
            @if !agent.receivers.is_empty() {
                h3 { "Receivers of alerts" }
                ul.plain { @for receiver in &agent.receivers { (self::receiver(receiver, now)) } } (LINE)
            }
            @if !agent.stores.is_empty() {
                h3 { "Stores" }
                ul.plain { @for store in &agent.stores { (self::store(store)) } } (LINE)
            }
            @if !agent.buckets.is_empty() {
                h3 { "Buckets" }
                ul.plain { @for bucket in &agent.buckets { (self::bucket(bucket, now)) } } (LINE)
            }
        }
        (LINE)
    }
}

fn facts(agent: &AgentReport, now: Timestamp) -> Markup {
    let cost = agent.cost;
    html! {
        dl.facts {
            dt { "Running" } dd { "for " (age(agent.started_at, now)) ", version " (agent.version) ", revision " (agent.revision) }
            dt { "Configuration" } dd {
                @match &agent.config.error {
                    Some(error) => { span.bad { "The last configuration was rejected: " } (human::printable(error)) }
                    None => { "in force" @if let Some(at) = agent.config.in_force_since { " since " (ago(at, now)) } }
                }
            }
            dt { "Bill" } dd {
                (known(cost.dollars_per_month.map(|dollars| html! { (monthly(dollars)) })))
                @if let Some(budget) = cost.budget_dollars_per_month { " of " (money(budget)) " budgeted" }
                @if let Some((times, budget)) = cost.rarer().zip(cost.request_budget_dollars_per_month) {
                    "; looks at buckets are " (format!("{times:.1}")) " times rarer than configured, because of the request budget of "
                    (monthly(budget))
                }
            }
            @if let Some(budget) = agent.drill_budget {
                dt { "Drills today" } dd {
                    (human::bytes(budget.downloaded_bytes)) " downloaded of " (human::bytes(budget.budget_bytes)) " budgeted"
                }
            }
            @if let Some(state) = &agent.state {
                dt { "Memory over restarts" } dd {
                    @match &state.reason {
                        Some(reason) => { span.bad { "not saved: " } (human::printable(&reason.message)) }
                        None => { (known(state.last_saved_at.map(|at| html! { "saved " (ago(at, now)) }))) }
                    }
                }
            }
            @if let Some(process) = agent.process {
                dt { "Resources" } dd {
                    (human::bytes(process.resident_memory_bytes)) " of memory, "
                    (human::duration(process.cpu_seconds)) " of processor time"
                }
            }
        }
        (LINE)
    }
}

fn source(source: &SourceReport) -> Markup {
    html! {
        li {
            code { (human::printable(&source.source)) } ": "
            @if source.success { (human::counted(source.databases, "database")) }
            @else { span.bad { "not read: " } (human::printable(source.error.as_deref().unwrap_or("unknown error"))) }
            @for warning in &source.warnings { div.hint { (human::printable(warning)) } }
        }
    }
}

fn receiver(receiver: &ReceiverReport, now: Timestamp) -> Markup {
    html! {
        li {
            strong { (human::printable(&receiver.receiver)) } " (" (receiver.kind) "): "
            @match receiver.failing_since {
                Some(since) => {
                    span.bad { "failing for " (age(since, now)) }
                    @if let Some(reason) = &receiver.reason { ": " (human::printable(&reason.message)) }
                }
                None => @match receiver.last_success_at {
                    Some(at) => { "last told " (since(at, now)) }
                    None => { "nothing told yet" }
                }
            }
            @if receiver.waiting > 0 { "; " (human::counted(receiver.waiting, "alert")) " waiting" }
        }
    }
}

fn store(store: &StoreReport) -> Markup {
    let requests: u64 = store.operations.iter().map(|operation| operation.requests).sum();
    html! {
        li {
            strong { (store.store.as_str()) } ": " (human::counted(requests, "request")) ", " (human::bytes(store.received_bytes)) " received"
            @if store.recent_failures > 0 {
                "; " span.bad { (store.recent_failures) " of the last " (store.recent_requests) " failed" }
            }
            @if let Some(dollars) = store.request_dollars_per_month { "; requests " (monthly(dollars)) }
        }
    }
}

fn bucket(bucket: &BucketReport, now: Timestamp) -> Markup {
    let said = |what: Option<bool>| what.map_or("unknown", |yes| if yes { "yes" } else { "no" });
    let settings = [
        ("versioning", bucket.versioning_enabled),
        ("old versions expire", bucket.noncurrent_expiry_configured),
        ("public", bucket.public),
        ("public access blocked", bucket.public_access_blocked),
        ("object lock", bucket.object_lock_enabled),
    ];
    html! {
        li {
            strong { (human::printable(&bucket.bucket)) } ": "
            @for (index, (setting, value)) in settings.into_iter().enumerate() {
                @if index > 0 { ", " } (setting) " " span class=[value.is_none().then_some("unknown")] { (said(value)) }
            }
            @if let Some(at) = bucket.checked_at { span.quiet { "; looked at " (since(at, now)) } }
            @if let Some(reason) = &bucket.reason { div.hint { (human::printable(&reason.message)) } }
        }
    }
}
