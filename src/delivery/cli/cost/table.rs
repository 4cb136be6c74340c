//! The estimate as a table for the terminal.

use std::fmt::Write;

use super::{Answer, Costed, Early, Month, Row};
use crate::delivery::render::terminal::{reason, row, wrapped};
use crate::domain::cost::Part;
use crate::domain::human;
use crate::domain::limits::BANDS_MAX;

/// The blocks of a few replicas, or a line for each of many, and the sum of several.
pub(super) fn table(answer: &Answer, width: usize) -> String {
    let mut out = String::new();
    let replicas = &answer.replicas;
    let many = replicas.len() > BANDS_MAX;
    for (index, costed) in replicas.iter().enumerate() {
        if many {
            let then = costed.then.as_ref().map(|month| format!(", then {}", sum(month.dollars_per_month)));
            let now = sum(costed.now.as_ref().and_then(|month| month.dollars_per_month));
            // Writing to a text does not fail, here and below.
            let _ = writeln!(out, "{}  {now}{}", name(costed), then.unwrap_or_default());
        } else {
            if index > 0 {
                out.push('\n');
            }
            block(&mut out, costed, answer.prices_read, width);
        }
    }
    if replicas.len() > 1 {
        let then = answer.then.map(|then| format!(", then {}", sum(then.dollars_per_month))).unwrap_or_default();
        let count = human::counted(replicas.len(), "replica");
        let _ = writeln!(out, "\n{count}: {} a month{then}", sum(answer.now.dollars_per_month));
    }
    out
}

fn name(costed: &Costed) -> String {
    let database = costed.database.as_ref().map(|database| format!("{database} -> "));
    human::printable(&format!("{}{}", database.unwrap_or_default(), costed.url))
}

fn block(out: &mut String, costed: &Costed, prices_read: &str, width: usize) {
    let _ = writeln!(out, "{}", name(costed));
    if let Some(why) = &costed.reason {
        reason(out, width, "unknown", why);
    }
    if let (Some(now), Some(seconds)) = (&costed.now, costed.measured_seconds) {
        let then = costed.then.as_ref().filter(|then| seller(then) != seller(now));
        let then = then.map(|then| format!(", then {}", seller(then))).unwrap_or_default();
        row(out, width, "prices", &format!("{}{then}, {prices_read}", seller(now)));
        let objects = human::counted(costed.objects.unwrap_or(0), "object");
        row(out, width, "measured", &format!("over {}, {objects}", human::duration(seconds)));
        months(out, now, costed.then.as_ref());
        let months = [Some(now), costed.then.as_ref()].into_iter().flatten();
        let traps = months.filter_map(|month| Some(trap(month, month.early_deletion.as_ref()?)));
        for text in traps.chain(costed.notes.iter().cloned()) {
            for line in wrapped(&human::printable(&text), width - 2) {
                let _ = writeln!(out, "  {line}");
            }
        }
    }
    let paid = costed.request_dollars.map(|dollars| format!(", {}", money(dollars))).unwrap_or_default();
    row(out, width, "cost", &format!("{}{paid}", human::counted(costed.requests, "request")));
}

/// Who sends the bill, and for which class.
fn seller(month: &Month) -> String {
    let class = month.storage_class.filter(|class| !class.is_empty()).map(|class| format!(" {class}"));
    month.prices.map_or_else(
        || "unknown".to_owned(),
        |_| format!("{}{}", month.provider.unwrap_or("as configured"), class.unwrap_or_default()),
    )
}

/// A line for each part that there is in either month, and what they come to.
fn months(out: &mut String, now: &Month, then: Option<&Month>) {
    let find = |month: &Month, part: Part| month.parts.iter().find(|row| row.part == part).copied();
    let cells = |found: Option<Row>, priced: bool| match found {
        Some(Row { usage, dollars, .. }) => {
            let requests = if usage.requests() > 0.0 { grouped(usage.requests()) } else { String::new() };
            let bytes = usage.stored_bytes + usage.received_bytes;
            let bytes = if bytes > 0.0 { human::bytes(bytes as u64) } else { String::new() };
            [requests, bytes, dollars.map_or_else(|| "unknown".to_owned(), money)]
        }
        None => [String::new(), String::new(), if priced { "-".to_owned() } else { String::new() }],
    };
    let mut rows = vec![head(then.is_some())];
    for part in Part::ALL {
        let (one, other) = (find(now, *part), then.and_then(|then| find(then, *part)));
        if one.is_some() || other.is_some() {
            let mut row = vec![part.as_str().to_owned()];
            row.extend(cells(one, true));
            row.extend(then.into_iter().flat_map(|_| cells(other, true)));
            rows.push(row);
        }
    }
    let total = |month: &Month| [String::new(), String::new(), sum(month.dollars_per_month)];
    let mut last = vec!["a month".to_owned()];
    last.extend(total(now));
    last.extend(then.into_iter().flat_map(total));
    rows.push(last);
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let mut line = format!("  {:17}", row[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, " {cell:>width$}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn head(asked: bool) -> Vec<String> {
    let mut head = ["", "REQUESTS", "BYTES", if asked { "NOW" } else { "COST" }].map(str::to_owned).to_vec();
    if asked {
        head.extend(["REQUESTS", "BYTES", "THEN"].map(str::to_owned));
    }
    head
}

/// What the minimum duration of a storage class does, in plain words.
fn trap(month: &Month, early: &Early) -> String {
    let objects = &early.objects;
    let class = month.storage_class.filter(|class| !class.is_empty());
    let provider = month.provider.unwrap_or("The store");
    let of = match (early.dollars_per_month, month.dollars_per_month) {
        (Some(early), Some(all)) => format!("{} of {} a month", money(early), money(all)),
        _ => "how much that is is unknown".to_owned(),
    };
    let remedy = match class {
        Some(class) => format!("storage-class {class} does that, the usual class does not."),
        None => "A longer monitor-interval (0.3: sync-interval) writes fewer objects.".to_owned(),
    };
    format!(
        "{provider} bills each of the {} objects a day that Litestream deletes, most of them after {}, for {} days: {of}. \
         {remedy}",
        grouped(objects.objects_per_day),
        human::duration(objects.lifetime_seconds),
        grouped(objects.billed_days),
    )
}

/// A whole number with its thousands apart; what is less than one says so.
pub(super) fn grouped(number: f64) -> String {
    if number > 0.0 && number < 1.0 {
        return "< 1".to_owned();
    }
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn sum(dollars: Option<f64>) -> String {
    dollars.map_or_else(|| "unknown".to_owned(), money)
}

fn money(dollars: f64) -> String {
    if dollars >= 1.0 { format!("${dollars:.2}") } else { human::dollars(dollars) }
}
