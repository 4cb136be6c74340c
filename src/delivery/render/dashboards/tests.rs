//! What every dashboard, panel and query has to keep: the rules of Grafana's dashboard-linter, and ours.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::super::promql::{exported, metrics, profile};
use super::panel::Unit;
use super::*;
use crate::delivery::render::rules::recorded;
use crate::domain::check::catalogue;
use crate::domain::number;

/// Stable metrics that are neither on a dashboard nor in an alert rule, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("streamgauge_database_polled", "says how soon changes are seen, which the lag already counts in"),
    ("streamgauge_database_commits_lower_bound", "a footnote to a rate, on the page"),
    ("streamgauge_database_written_bytes_lower_bound", "a footnote to a rate, on the page"),
    ("streamgauge_replica_unreplicated_bytes_lower_bound", "a footnote to a number, on the page"),
    ("streamgauge_database_write_transactions_per_second", "Prometheus makes it of the counter"),
    ("streamgauge_database_written_bytes_per_second", "Prometheus makes it of the counter"),
    ("streamgauge_database_rate_window_seconds", "belongs to the rates that Prometheus makes by itself"),
    ("streamgauge_database_filesystem_size_bytes", "the ratio and what is free say the same"),
    ("streamgauge_database_file_permissions_ok", "shown as acceptable, which is what the check asks for"),
    ("streamgauge_replica_reread_objects_total", "its bytes are shown"),
    ("streamgauge_replica_spot_pages_compared_total", "its rounds are shown"),
];

fn built() -> Vec<(String, Value)> {
    let formats = [DashboardFormat::Provisioning, DashboardFormat::Import];
    let all = names().flat_map(|name| Profile::ALL.iter().map(move |profile| (name, *profile)));
    let all = all.flat_map(|(name, profile)| {
        formats.map(|format| (format!("{name} {} {format:?}", profile.as_str()), dashboard(name, format, profile)))
    });
    all.map(|(name, text)| (name, serde_json::from_str(&text).expect("JSON"))).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Calls a rule with each panel but the rows, and where it is.
fn each_panel(rule: impl Fn(&str, &Value)) {
    for (name, dashboard) in built() {
        for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
            rule(&format!("{name}: {}", text(&panel["title"])), panel);
        }
    }
}

/// Calls a rule with each query of each panel and annotation, where it is, and its legend.
fn each_query(rule: impl Fn(&str, &str, &str)) {
    for (name, dashboard) in built() {
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                let place = format!("{name}: {} {}", text(&panel["title"]), text(&target["refId"]));
                rule(&place, text(&target["expr"]), text(&target["legendFormat"]));
            }
        }
        for mark in list(&dashboard["annotations"]["list"]) {
            rule(&format!("{name}: {}", text(&mark["name"])), text(&mark["expr"]), text(&mark["titleFormat"]));
        }
    }
}

fn variable<'a>(dashboard: &'a Value, name: &str) -> &'a Value {
    let all = list(&dashboard["templating"]["list"]);
    all.iter().find(|variable| variable["name"] == name).unwrap_or(&Value::Null)
}

/// The files that are checked in are those that are generated, also in the chart, which can read nothing outside itself.
#[test]
fn files_are_up_to_date() {
    for name in names() {
        let text = dashboard(name, DashboardFormat::Provisioning, Profile::Standard);
        for folder in ["dashboards", "packaging/helm/streamgauge/files/dashboards"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let path = folder.join(format!("streamgauge-{name}.json"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).expect("file is written");
            }
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(text == there, "{} is out of date; run with UPDATE=1", path.display());
        }
    }
}

#[test]
fn linter_template_datasource() {
    for (name, dashboard) in built() {
        let source = variable(&dashboard, "datasource");
        assert_eq!((text(&source["type"]), text(&source["query"])), ("datasource", "prometheus"), "{name}");
        assert_eq!(text(&source["label"]), "Data source", "{name}");
    }
}

#[test]
fn linter_template_job_and_instance() {
    for (name, dashboard) in built() {
        for (label, title) in [("job", "Job"), ("instance", "Instance")] {
            let variable = variable(&dashboard, label);
            assert_eq!((text(&variable["type"]), text(&variable["label"])), ("query", title), "{name}");
            assert_eq!(text(&variable["datasource"]["uid"]), "${datasource}", "{name}");
            assert_eq!((&variable["multi"], text(&variable["allValue"])), (&Value::Bool(true), ".+"), "{name}");
        }
    }
}

/// Their PromQL is a selector of something that is exported, and its label.
#[test]
fn linter_template_label_promql_and_on_time_change_reload() {
    let known = exported();
    for (name, dashboard) in built() {
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
            let query = text(&variable["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect(query);
            let (selector, label) = inner.rsplit_once(", ").expect(query);
            let found = metrics(selector);
            assert_eq!(found.len(), 1, "{name}: {query}");
            for label in found[0].1.iter().chain([&label]) {
                let has = known[found[0].0].contains(label) || ["job", "instance"].contains(label);
                assert!(has, "{name}: {query} has no label {label}");
            }
            assert_eq!(variable["refresh"], 2, "{name}: {query}");
        }
    }
}

#[test]
fn linter_panel_datasource() {
    each_panel(|place, panel| {
        let targets = list(&panel["targets"]).iter();
        for source in targets.map(|target| &target["datasource"]).chain([&panel["datasource"]]) {
            assert_eq!((text(&source["type"]), text(&source["uid"])), ("prometheus", "${datasource}"), "{place}");
        }
    });
}

#[test]
fn linter_panel_title_description() {
    let mut seen = BTreeSet::new();
    for (name, dashboard) in built() {
        for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
            let title = text(&panel["title"]);
            assert!(!title.is_empty() && seen.insert(format!("{name} {}{title}", panel["type"])), "{name}: {title}");
            assert!(text(&panel["description"]).ends_with('.'), "{name}: {title} says nothing of itself");
        }
    }
}

#[test]
fn linter_panel_units() {
    // Those of ours that are in the linter's list, which is all of them.
    let known = ["none", "s", "dateTimeAsIso", "bytes", "Bps", "reqps", "percentunit", "currencyUSD"];
    assert_eq!(Unit::ALL.map(Unit::id), known);
    each_panel(|place, panel| {
        assert!(known.contains(&text(&panel["fieldConfig"]["defaults"]["unit"])), "{place}");
        for over in list(&panel["fieldConfig"]["overrides"]) {
            for property in list(&over["properties"]).iter().filter(|property| property["id"] == "unit") {
                assert!(known.contains(&text(&property["value"])), "{place}");
            }
        }
    });
}

#[test]
fn linter_panel_no_targets_and_uneditable_dashboard() {
    each_panel(|place, panel| {
        let letters: BTreeSet<&str> = list(&panel["targets"]).iter().map(|target| text(&target["refId"])).collect();
        assert!(!letters.is_empty() && letters.len() == list(&panel["targets"]).len(), "{place}");
    });
    for (name, dashboard) in built() {
        assert_eq!(dashboard["editable"], false, "{name}");
    }
}

/// What only a parser knows is asked of the real Prometheus, in tests/serving/dashboards.rs.
#[test]
fn linter_target_promql() {
    each_query(|place, promql, _| {
        let mut open = Vec::new();
        for letter in promql.chars() {
            match letter {
                '(' | '{' | '[' => open.push(letter),
                ')' => assert_eq!(open.pop(), Some('('), "{place}: {promql}"),
                '}' => assert_eq!(open.pop(), Some('{'), "{place}: {promql}"),
                ']' => assert_eq!(open.pop(), Some('['), "{place}: {promql}"),
                _ => {}
            }
        }
        assert!(open.is_empty() && !promql.trim().is_empty(), "{place}: {promql}");
    });
}

#[test]
fn linter_target_rate_interval() {
    each_query(|place, promql, _| {
        for (at, range) in promql.match_indices('[') {
            let range = promql[at + range.len()..].split(']').next().unwrap_or_default();
            let function = promql[..at].rsplit_once('(').map_or("", |(before, _)| before);
            let function = function.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next();
            let wanted: &[&str] = match function {
                Some("rate" | "irate" | "changes") => &["$__rate_interval"],
                Some("increase" | "last_over_time") => &["$__range", "1h"],
                other => panic!("{place}: {other:?} over a range"),
            };
            assert!(wanted.contains(&range), "{place}: {function:?} over {range}");
        }
    });
}

/// Every selector, not only those of our own metrics.
#[test]
fn linter_target_job_and_instance() {
    each_query(|place, promql, _| {
        let selectors: Vec<&str> = promql.split('{').skip(1).collect();
        assert_eq!(selectors.len(), metrics(promql).len(), "{place}: {promql}");
        for selector in selectors {
            // That there is no agent is said of no instance.
            let absent = selector.contains("alertname=\"AgentAbsent\"");
            let of_scrape =
                if absent { "job=~\"$job\",instance=~\"$instance|\"" } else { "job=~\"$job\",instance=~\"$instance\"" };
            assert!(selector.starts_with(of_scrape), "{place}: {selector}");
        }
    });
}

#[test]
fn linter_target_counter_agg() {
    let counters: BTreeSet<&str> =
        number::all().filter(|number| number.kind == number::Kind::Counter).map(|number| number.name).collect();
    each_query(|place, promql, _| {
        for (name, _) in metrics(promql).iter().filter(|(name, _)| counters.contains(name) || name.ends_with("_bucket"))
        {
            for (at, _) in promql.match_indices(name) {
                let before = &promql[..at];
                let counted = before.ends_with("rate(") || before.ends_with("increase(");
                assert!(counted, "{place}: {name} in {promql}");
            }
        }
    });
}

/// There is no Loki here.
#[test]
fn linter_target_logql_and_logql_auto() {
    for (name, dashboard) in built() {
        assert!(!dashboard.to_string().contains("loki"), "{name}");
    }
}

/// Names and labels are those of what is exported, in selectors, groupings, joins and legends.
#[test]
fn what_dashboards_read_is_exported() {
    let known = exported();
    each_query(|place, promql, legend| {
        let mut has = vec!["job", "instance", "side"];
        for (name, labels) in metrics(promql) {
            let own = known.get(name).unwrap_or_else(|| panic!("{place}: there is no metric {name}"));
            for label in labels.into_iter().filter(|label| !["job", "instance"].contains(label)) {
                assert!(own.contains(&label), "{place}: {name} has no label {label}");
            }
            has.extend(own);
        }
        let grouped = ["by (", "on (", "group_left (", "without ("].into_iter();
        let grouped = grouped.flat_map(|word| promql.split(word).skip(1)).filter_map(|rest| rest.split(')').next());
        for label in grouped.flat_map(|list| list.split(", ")).filter(|label| !label.is_empty()) {
            assert!(has.contains(&label), "{place}: nothing has the label {label}");
        }
        let aggregated = promql.strip_prefix("sum by (").or_else(|| promql.strip_prefix("max by ("));
        let left: Option<Vec<&str>> =
            aggregated.and_then(|rest| rest.split(')').next()).map(|list| list.split(", ").collect());
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let there = left.as_ref().unwrap_or(&has).contains(&label);
            assert!(there, "{place}: the legend has a label {label} that no series has");
        }
    });
}

#[test]
fn checks_that_are_asked_for_exist() {
    each_query(|place, promql, _| {
        let named = ["check=\"", "alertname=\""].into_iter().flat_map(|label| promql.split(label).skip(1));
        for check in named.filter_map(|rest| rest.split('"').next()) {
            assert!(catalogue().any(|known| known.name == check), "{place}: there is no check {check}");
        }
    });
}

#[test]
fn every_metric_is_shown_or_alerted_of_or_it_is_said_why_not() {
    let mut used = BTreeSet::new();
    for (_, dashboard) in built() {
        let panels = list(&dashboard["panels"]).iter().flat_map(|panel| list(&panel["targets"]));
        for target in panels.chain(list(&dashboard["annotations"]["list"])) {
            used.extend(metrics(text(&target["expr"])).into_iter().map(|(name, _)| name.to_owned()));
        }
    }
    let rules = catalogue().flat_map(|check| check.rules).map(|rule| rule.when.to_string());
    for promql in rules.chain(recorded(Profile::Full).into_iter().map(|rule| rule.expr)) {
        used.extend(metrics(&promql).into_iter().map(|(name, _)| name.to_owned()));
    }
    for number in number::all() {
        let name = number.name;
        let is_used = used.contains(name) || used.contains(&format!("{name}_bucket"));
        let excused = NOT_SHOWN.iter().any(|(excused, why)| *excused == name && !why.is_empty());
        assert!(is_used != excused, "{name}: used {is_used}, in the table {excused}");
    }
    for (name, _) in NOT_SHOWN {
        assert!(number::all().any(|number| number.name == *name), "there is no metric {name}");
    }
}

#[test]
fn dashboards_of_a_profile_ask_for_what_it_has() {
    for (name, dashboard) in built() {
        let Some(word) = name.split(' ').nth(1) else { panic!("{name}") };
        let of = Profile::ALL.iter().find(|profile| profile.as_str() == word).expect("a profile");
        let whole = dashboard.to_string();
        for expr in whole.split("\"expr\":\"").skip(1).filter_map(|rest| rest.split("\",\"").next()) {
            assert!(profile(&expr.replace("\\\"", "\"")) <= *of, "{name}: {expr}");
        }
        let says_more = text(&dashboard["description"]).contains("--profile full");
        assert_eq!(says_more, word != "full" && !name.starts_with("agent"), "{name}");
    }
}

#[test]
fn the_usual_profile_has_the_whole_fleet() {
    let titles = |profile| {
        let dashboard: Value =
            serde_json::from_str(&dashboard("fleet", DashboardFormat::Provisioning, profile)).expect("JSON");
        list(&dashboard["panels"]).iter().map(|panel| text(&panel["title"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(Profile::Standard), titles(Profile::Full));
    let core = titles(Profile::Core);
    for title in ["Lag unknown", "Lag against RPO", "Failing checks", "Worst first", "Checks that do not pass"] {
        assert!(core.iter().any(|shown| shown == title), "{title}: {core:?}");
    }
}

/// Other programs have these as well, and `job` may be anything.
#[test]
fn what_every_job_has_is_asked_of_agents_only() {
    each_query(|place, promql, _| {
        for (name, _) in metrics(promql).iter().filter(|(name, _)| !name.contains("streamgauge_")) {
            let bound = promql.contains("and on (job") || promql.contains("* on (job, instance) group_left");
            assert!(bound && promql.contains("streamgauge_build_info"), "{place}: {name} in {promql}");
        }
    });
}

/// Unknown is grey and has a name: never 0, green or a line through a gap.
#[test]
fn unknown_is_never_well() {
    let says_unknown = |mappings: &Value| {
        let special = list(mappings).iter().find(|mapping| mapping["options"]["match"] == "null+nan");
        special.is_some_and(|mapping| {
            let result = &mapping["options"]["result"];
            result["text"] == "unknown" && text(&result["color"]).starts_with('#')
        })
    };
    each_panel(|place, panel| {
        let field = &panel["fieldConfig"]["defaults"];
        let of_labels = list(&panel["targets"]).iter().all(|target| target["format"] == "table")
            && panel["transformations"][1]["options"]["renameByName"] == serde_json::json!({});
        assert_eq!(field["noValue"], if of_labels { "none known" } else { "unknown" }, "{place}");
        assert!(says_unknown(&field["mappings"]), "{place}");
        let mut scales = vec![&field["thresholds"]];
        for over in list(&panel["fieldConfig"]["overrides"]) {
            for property in list(&over["properties"]) {
                match text(&property["id"]) {
                    "thresholds" => scales.push(&property["value"]),
                    "mappings" => assert!(says_unknown(&property["value"]), "{place}"),
                    _ => {}
                }
            }
        }
        for scale in scales {
            let first = &scale["steps"][0];
            assert!(first["value"].is_null() && text(&first["color"]).starts_with('#'), "{place}: {scale}");
        }
        if ["timeseries", "state-timeline"].contains(&text(&panel["type"])) {
            assert_eq!(field["custom"]["spanNulls"], false, "{place}");
        }
    });
    each_query(|place, promql, _| assert!(!promql.contains("vector("), "{place}: {promql}"));
}

/// Else Grafana would show all labels of a series.
#[test]
fn what_is_drawn_over_time_has_a_legend() {
    each_panel(|place, panel| {
        for target in list(&panel["targets"]).iter().filter(|target| target["instant"] == false) {
            assert!(!["", "__auto"].contains(&text(&target["legendFormat"])), "{place}");
        }
    });
}

/// With a job that is scraped once a minute the usual 15 seconds would leave every rate empty.
#[test]
fn every_panel_asks_at_most_once_a_minute() {
    each_panel(|place, panel| assert_eq!(panel["interval"], "1m", "{place}"));
}

#[test]
fn panels_neither_overlap_nor_leave_the_screen() {
    for (name, dashboard) in built() {
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard["panels"]) {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
            assert!(x + w <= 24, "{name}: {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} covers another", panel["title"]);
            }
        }
    }
}

#[test]
fn variables_that_are_asked_for_exist_and_links_lead_somewhere() {
    let uids: Vec<String> = built().iter().map(|(_, dashboard)| text(&dashboard["uid"]).to_owned()).collect();
    for (name, dashboard) in built() {
        let known: BTreeSet<&str> =
            list(&dashboard["templating"]["list"]).iter().map(|variable| text(&variable["name"])).collect();
        let whole = dashboard.to_string();
        for word in whole.split("=~\\\"$").skip(1) {
            let word: String = word.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            assert!(known.contains(word.as_str()), "{name}: ${word}");
        }
        for target in whole.split("\"/d/").skip(1).filter_map(|rest| rest.split('?').next()) {
            assert!(uids.iter().any(|uid| uid == target), "{name}: no dashboard {target}");
        }
    }
    each_panel(|place, panel| {
        // What a link takes from its row is a column of the table, by the name that it has there.
        let columns = panel["transformations"][1]["options"]["indexByName"].as_object();
        for over in list(&panel["fieldConfig"]["overrides"]) {
            for field in over.to_string().split("${__data.fields.").skip(1).filter_map(|rest| rest.split('}').next()) {
                let there = columns.is_some_and(|columns| columns.contains_key(field)) || field == "job";
                assert!(there, "{place}: a link takes {field}, which is no column");
            }
        }
    });
}

#[test]
fn they_are_provisioned_as_they_are_and_imported_with_a_question() {
    for (name, dashboard) in built() {
        assert!(dashboard["id"].is_null() && dashboard["schemaVersion"] == 39, "{name}");
        let import = name.ends_with("Import");
        assert_eq!(dashboard["__inputs"].is_array(), import, "{name}");
        assert_eq!(dashboard.to_string().contains("${DS_PROMETHEUS}"), import, "{name}");
        if import {
            assert_eq!(dashboard["__inputs"][0]["name"], "DS_PROMETHEUS", "{name}");
            let required = list(&dashboard["__requires"]);
            let is_required =
                |kind: &str, id: &Value| required.iter().any(|plugin| plugin["type"] == kind && plugin["id"] == *id);
            assert!(is_required("grafana", &"grafana".into()) && is_required("datasource", &"prometheus".into()));
            for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
                assert!(is_required("panel", &panel["type"]), "{name}: {}", panel["type"]);
            }
        }
    }
}

/// Grafana's own palette begins with green.
#[test]
fn lines_of_what_is_wrong_are_red_and_of_what_is_unknown_orange() {
    let (bad, doubtful) = (["beyond", "fail", "critical"], ["unknown", "warning"]);
    let colour = |query: &str, legend: &str| {
        // The word is in the legend, or in the one label that the legend shows of what is asked.
        let asks = |label: &str, word: &str| legend.contains(label) && query.contains(&format!("=\"{word}\""));
        let says = |word: &&str| legend == *word || asks("{{status}}", word) || asks("{{severity}}", word);
        let red = bad.iter().any(&says).then_some("red");
        red.or_else(|| doubtful.iter().any(says).then_some("orange"))
    };
    let seen = std::cell::Cell::new(0);
    each_panel(|place, panel| {
        if panel["type"] != "timeseries" {
            return;
        }
        for target in list(&panel["targets"]) {
            let Some(wanted) = colour(text(&target["expr"]), text(&target["legendFormat"])) else { continue };
            let own = |over: &&Value| over["matcher"]["options"] == target["refId"];
            let over = list(&panel["fieldConfig"]["overrides"]).iter().find(own).expect("a colour of its own");
            let found = list(&over["properties"]).iter().find(|property| property["id"] == "color").expect("a colour");
            assert_eq!(found["value"]["fixedColor"], wanted, "{place}");
            seen.set(seen.get() + 1);
        }
    });
    assert!(seen.get() > 6);
}
