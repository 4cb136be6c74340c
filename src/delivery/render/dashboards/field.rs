//! How values are written and coloured in Grafana's JSON.

use serde_json::{Value, json};

use super::panel::{Kind, Panel, Query, Role, Scale, Unit, letter};

const GREY: &str = "#8e8e8e";

/// The defaults of all fields of a panel.
pub(super) fn field(panel: &Panel) -> Value {
    let mut field = scaled(panel.scale);
    field["unit"] = json!(panel.unit.id());
    // A table of what labels say cannot tell that nothing is wrong from that nothing is known.
    let of_labels = matches!(panel.kind, Kind::Table(_)) && panel.queries.iter().all(|query| query.name.is_empty());
    field["noValue"] = json!(if of_labels { "none known" } else { "unknown" });
    if let Some(decimals) = decimals(panel.unit, panel.scale).filter(|_| panel.kind == Kind::Stat) {
        field["decimals"] = json!(decimals);
    }
    field["custom"] = match panel.kind {
        Kind::Stat => json!({}),
        Kind::Table(_) => json!({"align": "auto", "cellOptions": {"type": "auto"}, "minWidth": 50}),
        Kind::Lines => json!({"lineWidth": 1, "fillOpacity": 0, "spanNulls": false, "axisSoftMin": 0}),
        Kind::Stacked => json!({"lineWidth": 1, "fillOpacity": 30, "spanNulls": false, "axisSoftMin": 0,
            "stacking": {"mode": "normal", "group": "A"}}),
        Kind::States => json!({"lineWidth": 0, "fillOpacity": 70, "spanNulls": false}),
        Kind::Heatmap => json!({"scaleDistribution": {"type": "linear"}}),
    };
    if matches!(panel.kind, Kind::Lines | Kind::Stacked) {
        field["color"] = json!({"mode": "palette-classic"});
    }
    field
}

/// Colour and words of values on a scale.
fn scaled(scale: Scale) -> Value {
    let (steps, words): (&[(f64, &str)], &[&str]) = match scale {
        Scale::Plain => (&[], &[]),
        Scale::OfObjective => (&[(0.0, "green"), (0.5, "orange"), (1.0, "red")], &[]),
        Scale::Trouble => (&[(0.0, "green"), (1.0, "red")], &[]),
        Scale::Doubt => (&[(0.0, "green"), (1.0, "orange")], &[]),
        Scale::Availability => (&[(0.0, "red"), (0.999, "green")], &[]),
        Scale::Good => (&[(0.0, "red"), (1.0, "green")], &["no", "yes"]),
        Scale::Bad => (&[(0.0, "green"), (1.0, "red")], &["no", "yes"]),
        Scale::YesNo => (&[(0.0, "purple"), (1.0, "blue")], &["no", "yes"]),
        Scale::Status => (&[(0.0, "green"), (1.0, GREY), (2.0, "red")], &["pass", "unknown", "fail"]),
    };
    let mut mappings: Vec<Value> = Vec::new();
    for (index, (word, (value, colour))) in words.iter().zip(steps).enumerate() {
        let value = value.to_string();
        mappings.push(json!({"type": "value", "options": {value: {"text": word, "color": colour, "index": index}}}));
    }
    let unknown = json!({"text": "unknown", "color": GREY, "index": words.len()});
    mappings.push(json!({"type": "special", "options": {"match": "null+nan", "result": unknown}}));
    // The first colour is also that of no value at all.
    let first = json!({"value": null, "color": GREY});
    let rest = steps.iter().map(|(value, colour)| json!({"value": value, "color": colour}));
    let steps: Vec<Value> = std::iter::once(first).chain(rest).collect();
    let colour = match scale {
        Scale::Plain => json!({"mode": "fixed", "fixedColor": "text"}),
        _ => json!({"mode": "thresholds"}),
    };
    json!({"color": colour, "mappings": mappings, "thresholds": {"mode": "absolute", "steps": steps}})
}

/// Decimals of a value by itself, where Grafana's own choice would mislead.
fn decimals(unit: Unit, scale: Scale) -> Option<u8> {
    match (unit, scale) {
        (Unit::Count, Scale::OfObjective) | (Unit::Ratio, Scale::Availability) => Some(2),
        // What Prometheus extrapolates is no whole number.
        (Unit::Count, _) | (Unit::Ratio, Scale::OfObjective) => Some(0),
        _ => None,
    }
}

/// What is different for some fields of a panel.
pub(super) fn overrides(panel: &Panel) -> Vec<Value> {
    let Kind::Table(labels) = panel.kind else {
        let lines = panel.queries.iter().map(line).enumerate().filter(|(_, properties)| !properties.is_empty());
        return lines.map(|(index, properties)| over("byFrameRefID", &letter(index), &properties)).collect();
    };
    let columns = panel.queries.iter().filter(|query| !query.name.is_empty());
    let mut all: Vec<Value> = columns.map(|query| over("byName", query.name, &column(query))).collect();
    // It is only wanted for links. Grafana 12 has another word for it.
    let hidden = [("custom.hidden", json!(true)), ("custom.hideFrom", json!({"viz": true}))];
    all.push(over("byName", "job", &hidden));
    for label in labels.iter().chain(&["instance"]) {
        // A label that is not there is not unknown: what is said is said of nothing smaller.
        let mut properties = vec![("noValue", json!("\u{2013}")), ("custom.filterable", json!(true))];
        properties.extend(width(label).map(|width| ("custom.width", json!(width))));
        properties.extend(link(label).map(|link| ("links", json!([link]))));
        all.push(over("byName", label, &properties));
    }
    all
}

fn over(matcher: &str, of: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Vec<Value> = properties.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
    json!({"matcher": {"id": matcher, "options": of}, "properties": properties})
}

/// What is different for a line.
fn line(query: &Query) -> Vec<(&'static str, Value)> {
    let unit = query.unit.map(|unit| ("unit", json!(unit.id())));
    let own = match (query.role, query.scale) {
        (Role::Objective, _) => vec![
            ("color", json!({"mode": "fixed", "fixedColor": "red"})),
            ("custom.lineStyle", json!({"fill": "dash", "dash": [10, 10]})),
            ("custom.fillOpacity", json!(0)),
        ],
        (Role::Right, _) => vec![("custom.axisPlacement", json!("right"))],
        (Role::Value, Scale::Trouble) => vec![("color", toned(query, "red"))],
        (Role::Value, Scale::Doubt) => vec![("color", toned(query, "orange"))],
        (Role::Value, _) => Vec::new(),
    };
    unit.into_iter().chain(own).collect()
}

/// One colour for a single line, and its shades for one line for each label.
fn toned(query: &Query, colour: &str) -> Value {
    let mode = if query.name.contains("{{") { "shades" } else { "fixed" };
    json!({"mode": mode, "fixedColor": colour})
}

fn column(query: &Query) -> Vec<(&'static str, Value)> {
    let scaled = scaled(query.scale);
    let mut properties = vec![("mappings", scaled["mappings"].clone())];
    if let Some(unit) = query.unit {
        properties.push(("unit", json!(unit.id())));
        properties.extend(decimals(unit, query.scale).map(|decimals| ("decimals", json!(decimals))));
        if unit == Unit::Instant {
            properties.push(("custom.width", json!(160)));
        }
    }
    if query.scale == Scale::Plain {
        // So that unknown is grey.
        properties.push(("custom.cellOptions", json!({"type": "color-text"})));
    } else {
        properties.push(("color", scaled["color"].clone()));
        properties.push(("thresholds", scaled["thresholds"].clone()));
        properties.push(("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})));
    }
    properties
}

/// How wide a column of labels is, in pixels; `None`: an equal share of what the others leave.
fn width(label: &str) -> Option<u32> {
    match label {
        "database" | "instance" => Some(150),
        "check" | "alertname" => Some(190),
        "bucket" => Some(220),
        "store" | "layout" | "page_size" => Some(120),
        _ => None,
    }
}

/// Where a column of labels leads. Grafana escapes what it puts in.
fn link(label: &str) -> Option<Value> {
    let (title, url) = match label {
        "database" => (
            "Dashboard of this database",
            "/d/streamgauge-database?${datasource:queryparam}&var-job=${__data.fields.job}\
             &var-instance=${__data.fields.instance}&var-database=${__data.fields.database}&${__url_time_range}",
        ),
        "instance" => ("Page of this agent", "http://${__data.fields.instance}/"),
        "check" => ("Runbook", "http://${__data.fields.instance}/runbook/${__data.fields.check}"),
        "alertname" => ("Runbook", "http://${__data.fields.instance}/runbook/${__data.fields.alertname}"),
        _ => return None,
    };
    Some(json!({"title": title, "url": url, "targetBlank": label != "database"}))
}
