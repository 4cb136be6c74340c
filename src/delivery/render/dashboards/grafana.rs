//! Grafana's JSON of a dashboard, in its classic schema, which every version since 10.4 reads.
//!
//! What is unknown is grey and says so: no data and null have a text and a colour of their own, every scale begins with
//! grey, and lines and bars end where nothing is known.

use serde_json::{Map, Value, json};

use super::DashboardFormat;
use super::field::{field, overrides};
use super::panel::{Dashboard, Databases, Kind, Panel, Query, Scale, Section, letter};
use super::promql::{SELECTED, firing, promql, starts};
use crate::domain::number::agent::BUILD;
use crate::domain::number::database::REPLICAS;
use crate::domain::number::drill::LAST_ATTEMPT;
use crate::domain::number::replica::{GAPS, RPO};
use crate::domain::profile::Profile;

/// By it the dashboards find each other.
const TAG: &str = "streamgauge";

/// The oldest Grafana that the dashboards are for.
const GRAFANA: &str = "10.4.0";

/// The text of a dashboard.
pub(super) fn json(dashboard: &Dashboard, format: DashboardFormat, profile: Profile) -> String {
    let panels = placed(&dashboard.sections);
    let requires = requires(&panels);
    let mut whole = json!({
        "id": null,
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": description(dashboard, profile),
        "tags": [TAG],
        "editable": false,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": annotations(dashboard.databases, profile)},
        "links": [{"type": "dashboards", "title": "streamgauge", "tags": [TAG], "asDropdown": true, "includeVars": true,
            "keepTime": true, "targetBlank": false, "icon": "external link", "tooltip": ""}],
        "templating": {"list": variables(dashboard.databases, format)},
        "panels": panels,
    });
    if format == DashboardFormat::Import {
        whole["__inputs"] = json!([{"name": INPUT, "label": "Prometheus", "description": "", "type": "datasource",
            "pluginId": "prometheus", "pluginName": "Prometheus"}]);
        whole["__requires"] = requires;
    }
    // Text with keys of text: there is nothing that could fail.
    serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
}

/// What it answers, and that there is more to be had.
fn description(dashboard: &Dashboard, profile: Profile) -> String {
    let answers = dashboard.description;
    if profile == Profile::Full || dashboard.databases == Databases::None {
        return answers.to_owned();
    }
    format!(
        "{answers} For agents with profile = \"{}\" in [metrics]. Agents with profile = \"full\" serve more, and \
         `streamgauge dashboards --profile full` prints a dashboard that shows it.",
        profile.as_str()
    )
}

/// The panels of all sections, one beside the other until a row is full, each section below the one before it.
fn placed(sections: &[Section]) -> Vec<Value> {
    let mut panels = Vec::new();
    let mut y = 0;
    for section in sections {
        if !section.title.is_empty() {
            panels.push(json!({"type": "row", "title": section.title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}));
            y += 1;
        }
        let (mut x, mut height) = (0, 0);
        for panel in &section.panels {
            if x + panel.width > 24 {
                (x, y, height) = (0, y + height, 0);
            }
            panels.push(picture(panel, json!({"x": x, "y": y, "w": panel.width, "h": panel.height})));
            (x, height) = (x + panel.width, height.max(panel.height));
        }
        y += height;
    }
    for (id, panel) in panels.iter_mut().enumerate() {
        panel["id"] = json!(id + 1);
    }
    panels
}

/// What the import dialog asks for.
const INPUT: &str = "DS_PROMETHEUS";

/// The plugins without which a dashboard cannot be drawn.
fn requires(panels: &[Value]) -> Value {
    let mut kinds: Vec<&str> = panels.iter().filter_map(|panel| panel["type"].as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of = |kind: &str, id: &str, version: &str| json!({"type": kind, "id": id, "name": id, "version": version});
    let panels = kinds.into_iter().filter(|kind| *kind != "row").map(|kind| of("panel", kind, ""));
    let all = [of("grafana", "grafana", GRAFANA), of("datasource", "prometheus", "1.0.0")];
    all.into_iter().chain(panels).collect()
}

fn data_source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// The plugin that draws a panel, and its options.
fn plugin(panel: &Panel) -> (&'static str, Value) {
    let legend = json!({"displayMode": "list", "placement": "bottom", "showLegend": true});
    match panel.kind {
        Kind::Stat => {
            let colour = if panel.scale == Scale::Plain { "value" } else { "background" };
            let reduce = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
            ("stat", json!({"colorMode": colour, "graphMode": "none", "textMode": "auto", "reduceOptions": reduce}))
        }
        Kind::Table(_) => ("table", json!({"showHeader": true, "cellHeight": "sm"})),
        Kind::Lines | Kind::Stacked => {
            ("timeseries", json!({"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}))
        }
        Kind::States => {
            let bars = json!({"mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9,
                "legend": legend, "tooltip": {"mode": "single"}});
            ("state-timeline", bars)
        }
        Kind::Heatmap => {
            let colour = json!({"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "reverse": true});
            let cells = json!({"calculate": false, "cellGap": 1, "color": colour, "legend": {"show": true},
                "tooltip": {"mode": "single"}, "yAxis": {"unit": panel.unit.id(), "axisPlacement": "left"}});
            ("heatmap", cells)
        }
    }
}

fn picture(panel: &Panel, place: Value) -> Value {
    let (kind, options) = plugin(panel);
    let mut picture = json!({
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": data_source(),
        "gridPos": place,
        // Without it the rate of a job that is scraped once a minute has a single sample, and no value.
        "interval": "1m",
        "options": options,
        "fieldConfig": {"defaults": field(panel), "overrides": overrides(panel)},
        "targets": panel.queries.iter().enumerate().map(|(index, query)| target(panel, index, query)).collect::<Vec<_>>(),
    });
    if let Kind::Table(labels) = panel.kind {
        picture["transformations"] = transformations(panel, labels);
    }
    picture
}

fn target(panel: &Panel, index: usize, query: &Query) -> Value {
    let format = match panel.kind {
        Kind::Table(_) => "table",
        Kind::Heatmap => "heatmap",
        _ => "time_series",
    };
    // As it is now: the last value of a range would outlive what it is the value of.
    let instant = matches!(panel.kind, Kind::Stat | Kind::Table(_));
    let legend = if query.name.is_empty() { "__auto" } else { query.name };
    json!({"refId": letter(index), "datasource": data_source(), "editorMode": "code", "expr": query.expr,
        "format": format, "instant": instant, "range": !instant, "legendFormat": legend})
}

/// The answers of several queries as one table with the headings of its columns.
fn transformations(panel: &Panel, labels: &[&str]) -> Value {
    let (mut names, mut places, mut hidden) = (Map::new(), Map::new(), Map::new());
    hidden.insert("Time".into(), json!(true));
    for (place, label) in labels.iter().enumerate() {
        places.insert((*label).into(), json!(place));
    }
    for (index, query) in panel.queries.iter().enumerate() {
        // So it is called by the data source, which tells the queries apart where there are several.
        let column = if panel.queries.len() > 1 { format!("Value #{}", letter(index)) } else { "Value".to_owned() };
        places.insert(column.clone(), json!(labels.len() + index));
        match query.name {
            "" => hidden.insert(column, json!(true)),
            name => names.insert(column, json!(name)),
        };
    }
    places.insert("instance".into(), json!(labels.len() + panel.queries.len()));
    let mut all = vec![
        json!({"id": "merge", "options": {}}),
        json!({"id": "organize",
            "options": {"excludeByName": hidden, "indexByName": places, "renameByName": names}}),
    ];
    if let Some(first) = panel.queries.first().filter(|query| !query.name.is_empty()) {
        all.push(json!({"id": "sortBy", "options": {"fields": {}, "sort": [{"field": first.name, "desc": true}]}}));
    }
    json!(all)
}

/// What can be selected: the data source, and labels, each within those before it.
fn variables(databases: Databases, format: DashboardFormat) -> Vec<Value> {
    let source = match format {
        DashboardFormat::Provisioning => "default".to_owned(),
        DashboardFormat::Import => format!("${{{INPUT}}}"),
    };
    let source = json!({"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
        "current": {"text": source, "value": source}, "refresh": 1, "hide": 0, "multi": false, "includeAll": false});
    let labels = [
        ("job", "Job", &BUILD),
        ("instance", "Instance", &BUILD),
        ("database", "Database", &REPLICAS),
        ("replica", "Replica", &RPO),
    ];
    let shown = if databases == Databases::None { 2 } else { labels.len() };
    let queries = labels.into_iter().enumerate().take(shown).map(|(place, (label, title, number))| {
        let before =
            SELECTED[..place].iter().map(|label| format!("{label}=~\"${label}\"")).collect::<Vec<_>>().join(",");
        let query = format!("label_values({}{{{before}}}, {label})", number.name);
        let all = label != "database" || databases == Databases::All;
        let mut variable = json!({"type": "query", "name": label, "label": title, "datasource": data_source(),
            "query": query, "refresh": 2, "sort": 1, "hide": 0, "multi": true, "includeAll": all, "allValue": ".+"});
        if all {
            variable["current"] = json!({"text": "All", "value": "$__all"});
        }
        variable
    });
    std::iter::once(source).chain(queries).collect()
}

/// What happened when, over the lines.
fn annotations(databases: Databases, profile: Profile) -> Vec<Value> {
    let served = |expr: &String| super::super::promql::profile(expr) <= profile;
    let mark = |name: &str, colour: &str, title: &str, expr: String| {
        json!({"name": name, "datasource": data_source(), "enable": true, "hide": false, "iconColor": colour,
            "expr": expr, "step": "1m", "titleFormat": title, "textFormat": "{{instance}} {{database}} {{replica}}"})
    };
    let mut all = vec![
        mark("Restarts", "blue", "streamgauge was started", starts()),
        mark("Alerts", "orange", "{{alertname}} fires", firing(databases)),
    ];
    if databases != Databases::None {
        let drills = promql!("changes({LAST_ATTEMPT}[$__rate_interval]) > 0", LAST_ATTEMPT);
        let gaps = promql!("{GAPS} > 0", GAPS);
        all.extend(Some(drills).filter(served).map(|drills| mark("Drills", "purple", "Restore drill", drills)));
        let missing = "Files are missing in the replica";
        all.extend(Some(gaps).filter(served).map(|gaps| mark("Gaps", "red", missing, gaps)));
    }
    all
}
