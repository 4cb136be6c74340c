//! The description of the API, docs/openapi.yaml. Its schemas are made of the types that are served; what it says of paths
//! is written by hand, and held here to what the routes do.

#[path = "../../../../tests/support/openapi.rs"]
mod document;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::delivery::http::Guard;
use crate::delivery::http::answer::ProblemDocument;
use crate::delivery::http::reload::ReloadHandle;
use crate::delivery::http::routes::{App, ROUTES, Serves};
use crate::delivery::render::published::ReportCell;
use crate::delivery::render::{api, json as report};
use crate::domain::assessment::DURATION_BOUNDS;
use crate::domain::check::catalogue;
use crate::domain::history::RECORDED;
use crate::domain::limits::API_ROWS_MAX;
use crate::domain::litestream::{Layout, LevelKeys};
use crate::domain::report::{Judged, Report, sample};
use crate::domain::verdict::Word;
use crate::usecase::ports::{AskedBy, Publisher};

/// What stands in front of the schemas is written by hand.
const GENERATED: &str = "\n  schemas:\n";

/// The units of numbers whose names end so.
const UNITS: &[(&str, &str)] = &[
    ("bytes_per_second", "bytes per second"),
    ("transactions_per_second", "transactions per second"),
    ("dollars_per_month", "US dollars per month"),
    ("seconds", "seconds"),
    ("bytes", "bytes"),
    ("page_size", "bytes"),
    ("dollars", "US dollars"),
    ("ratio", "1"),
];

/// Texts that are one of a closed set: where they are, and the schema of the set.
const CLOSED: &[(&str, &str)] = &[
    ("/Verdict/properties/check", "CheckName"),
    ("/ItemReport/properties/checks/items", "CheckName"),
    ("/ReplicaReport/properties/layout", "LayoutName"),
    ("/HistoryAnswer/properties/metric", "RecordedMetric"),
    ("/StoreOperationReport/properties/failures/items/prefixItems/0", "ReasonKind"),
    ("/ReceiverReport/properties/failures/items/prefixItems/0", "ReasonKind"),
];

/// The schemas of all answers, by name.
fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator =
        settings.with(|settings| settings.definitions_path = "/components/schemas".into()).into_generator();
    generator.subschema_for::<report::Document<'_>>();
    generator.subschema_for::<api::Document<api::Databases<'_>>>();
    generator.subschema_for::<api::Document<Judged<'_>>>();
    generator.subschema_for::<api::Document<api::Checks<'_>>>();
    generator.subschema_for::<api::Document<api::Alerts<'_>>>();
    generator.subschema_for::<api::Document<api::Restorable<'_>>>();
    generator.subschema_for::<api::Document<api::History<'_>>>();
    generator.subschema_for::<ProblemDocument<'_>>();
    generator.subschema_for::<Word>();
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().for_each(finish);
    let words =
        |words: Vec<&str>, description: &str| json!({"description": description, "type": "string", "enum": words});
    let sets = [
        (
            "CheckName",
            words(catalogue().map(|check| check.name).collect(), "The name of a check, which is in docs/RUNBOOK.md."),
        ),
        (
            "LayoutName",
            words(
                vec![Layout::V3.as_str(), Layout::V5(LevelKeys::Plain).as_str()],
                "The release of Litestream that writes it.",
            ),
        ),
        (
            "RecordedMetric",
            words(RECORDED.iter().map(|number| number.name).collect(), "A metric whose history is kept."),
        ),
        (
            "Limit",
            json!({"description": "How many databases.", "type": "integer", "minimum": 1, "maximum": API_ROWS_MAX, "default": API_ROWS_MAX}),
        ),
        (
            "Instant",
            json!({"description": "RFC 3339, or seconds since 1970.", "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}),
        ),
    ];
    schemas.extend(sets.map(|(name, schema)| (name.to_owned(), schema)));
    let mut schemas = Value::from(schemas);
    schemas["DurationHistogram"]["properties"]["counts"]["x-bounds-seconds"] = json!(DURATION_BOUNDS);
    for (place, set) in CLOSED {
        close(schemas.pointer_mut(place).expect("a schema"), &format!("#/components/schemas/{set}"));
    }
    schemas
}

/// Makes a text one of a set; it may be null as before.
fn close(text: &mut Value, set: &str) {
    let text = text.as_object_mut().expect("a schema");
    match text.remove("type").expect("a type") {
        Value::String(_) => text.insert("$ref".into(), set.into()),
        _ => text.insert("anyOf".into(), json!([{"$ref": set}, {"type": "null"}])),
    };
}

/// Makes of what rustdoc and serde say what a reader of JSON needs.
fn finish(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(finish),
        Value::Object(entries) => {
            entries.remove("default");
            if let Some(Value::String(text)) = entries.get_mut("description") {
                *text = plain(text);
            }
            if let Some(properties) = entries.get_mut("properties").and_then(Value::as_object_mut) {
                for (name, property) in properties {
                    finish(property);
                    let kind = property["type"].to_string();
                    let number = kind.contains("number") || kind.contains("integer");
                    let unit = UNITS.iter().find(|(end, _)| name.ends_with(end)).filter(|_| number);
                    if let Some(((_, unit), property)) = unit.zip(property.as_object_mut()) {
                        property.insert("x-unit".into(), (*unit).into());
                    }
                }
                entries.insert("additionalProperties".into(), false.into());
            }
            for (_, inner) in entries.iter_mut().filter(|(keyword, _)| *keyword != "properties") {
                finish(inner);
            }
        }
        _ => {}
    }
}

/// A comment without its links and with the words of JSON.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, behind) = link.split_once("`]").expect("a link that ends");
        let (_, behind) = behind.strip_prefix('(').and_then(|target| target.split_once(')')).unwrap_or(("", behind));
        out.extend([before, "`", name, "`"]);
        rest = behind;
    }
    (out + rest)
        .replace("`None`", "`null`")
        .replace("`DURATION_BOUNDS`", "`x-bounds-seconds`")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Block style, with every text in double quotes, of which YAML takes what JSON does.
fn yaml(out: &mut String, indent: usize, value: &Value) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(out, "\n{:indent$}{key}:", "");
                yaml(out, indent + 2, value);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for item in items {
                let mut inner = String::new();
                yaml(&mut inner, indent + 2, item);
                let _ = write!(out, "\n{:indent$}- {}", "", inner.trim_start());
            }
        }
        scalar => {
            let _ = write!(out, " {scalar}");
        }
    }
}

/// The description that is served.
fn description() -> Value {
    document::read(api::OPENAPI)
}

fn app(report: Report) -> App {
    let cell = ReportCell::default();
    cell.publish(report);
    App { cell, reload: ReloadHandle::new().0, guard: Guard::default() }
}

async fn ask(app: &App, target: &str, tag: Option<&str>) -> http::Response<Bytes> {
    let mut request = Request::get(target).header("host", "localhost");
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let (head, body) =
        app.respond(&request.body(Empty::<Bytes>::new()).expect("a request"), AskedBy::Stranger).await.into_parts();
    http::Response::from_parts(head, body.collect::<Vec<_>>().concat().into())
}

/// What is described of `GET` of each path.
fn described(document: &Value) -> Vec<(&str, &Value)> {
    document["paths"].as_object().expect("paths").iter().map(|(path, item)| (path.as_str(), &item["get"])).collect()
}

/// The parameters of an operation that are in the query.
fn query<'a>(document: &'a Value, operation: &'a Value) -> Vec<&'a Value> {
    let all = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| document::resolve(document, parameter));
    all.filter(|parameter| parameter["in"] == "query").collect()
}

#[test]
fn schemas_are_those_of_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.yaml");
    let there = std::fs::read_to_string(&path).expect("a description");
    let (written, _) = there.split_once(GENERATED).expect("schemas");
    let mut text = String::new();
    yaml(&mut text, 4, &schemas());
    let text = format!("{written}{GENERATED}{}\n", text.trim_start_matches('\n'));
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&path, &text).expect("the description is written");
    }
    assert!(text == there, "docs/openapi.yaml is out of date; run with UPDATE=1");
    assert_eq!(document::read(&text)["components"]["schemas"], schemas(), "YAML says what the schemas say");
}

#[test]
fn everything_is_described_once_and_used() {
    let document = description();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(schema["description"].as_str().is_some_and(|text| text.len() > 3), "{name} says what it is");
        let Some(properties) = schema["properties"].as_object() else { continue };
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let described = |schema: &Value| schema["description"].as_str().is_some_and(|text| text.len() > 3);
        let silent: Vec<_> = properties.iter().filter(|(_, schema)| !described(schema)).map(|(name, _)| name).collect();
        assert!(silent.is_empty(), "{name} does not describe {silent:?}");
        let required = schema["required"].as_array().expect("required");
        let optional: Vec<_> = properties.keys().filter(|name| !required.contains(&json!(name))).collect();
        assert!(optional.is_empty() || (name == "Reason" && optional == ["hint"]), "{name} may lack {optional:?}");
    }
    // Each component is referred to, and nothing is referred to that is none.
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let component = |kind: &str| {
        let all = document["components"][kind].as_object().expect("components").keys();
        all.map(|name| format!("#/components/{kind}/{name}")).collect::<Vec<_>>()
    };
    let all = ["schemas", "parameters", "headers", "responses"].into_iter().flat_map(component);
    assert_eq!(used, all.collect());
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    found.extend(value["$ref"].as_str().map(str::to_owned));
    match value {
        Value::Object(entries) => entries.values().for_each(|inner| references(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

#[test]
fn paths_and_parameters_are_those_of_the_routes() {
    let document = description();
    let mut expected: Vec<(&str, Vec<&str>)> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path.starts_with("/api/")) {
        assert_eq!(route.methods, "GET, HEAD", "{}", route.path);
        let parameters = if let Serves::Api(_, parameters) = route.serves { parameters.to_vec() } else { Vec::new() };
        expected.push((route.path, parameters));
    }
    let named = |parameter: &&'_ Value| parameter["name"].as_str().expect("a name").to_owned();
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for (path, operation) in described(&document) {
        found.push((path, query(&document, operation).iter().map(named).collect()));
        let named = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|parameter| document::resolve(&document, parameter)["in"] == "path");
        assert_eq!(named, path.contains("{name}"), "{path}");
    }
    expected.sort();
    found.sort();
    for ((path, mut expected), (other, mut found)) in expected.iter().cloned().zip(found.iter().cloned()) {
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!((path, expected), (other, found.iter().map(String::as_str).collect()));
    }
    assert_eq!(expected.len(), found.len());
}

/// What a parameter takes and what it does not, by its description.
fn values(document: &Value, parameter: &Value) -> (Vec<String>, Vec<String>) {
    let schema = document::resolve(document, &parameter["schema"]);
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let words = schema["enum"].as_array().cloned().unwrap_or_else(|| {
        let options = schema["oneOf"].as_array().into_iter().flatten();
        options
            .flat_map(|option| option["enum"].as_array().cloned().unwrap_or_else(|| vec![option["const"].clone()]))
            .collect()
    });
    if !words.is_empty() {
        let words = words.iter().map(|word| word.as_str().expect("a word").to_owned());
        return (words.collect(), texts(&["x", "OK", "%00", "ok,critical"]));
    }
    if let Some((least, most)) = schema["minimum"].as_u64().zip(schema["maximum"].as_u64()) {
        let around = [least - 1, most + 1].map(|number| number.to_string());
        return (
            [least, most].map(|number| number.to_string()).into(),
            [around.to_vec(), texts(&["x", "-1", "1.5", "1e2"])].concat(),
        );
    }
    if schema["anyOf"].is_array() {
        return (texts(&["2026-01-01T00:00:00Z", "1767225600", "1.5"]), texts(&["x", "2026-01-01", "1e99", "%00"]));
    }
    assert_eq!(schema["type"], "string", "{parameter}");
    (texts(&["app"]), Vec::new())
}

#[tokio::test]
async fn parameters_take_what_is_described_and_nothing_else() {
    let (document, app) = (description(), app(sample::everything()));
    for (path, operation) in described(&document) {
        let path = path.replace("{name}", "app");
        let parameters = query(&document, operation);
        let required = |parameter: &&&Value| parameter["required"] == true;
        for parameter in &parameters {
            let name = parameter["name"].as_str().expect("a name");
            let replica = |parameter: &&&Value| parameter["name"] == "replica";
            let others = parameters.iter().filter(|other| required(other) && other["name"] != name && !replica(other));
            let others = others
                .map(|other| format!("{}={}&", other["name"].as_str().expect("a name"), values(&document, other).0[0]));
            let others = others.collect::<String>();
            let (taken, refused) = values(&document, parameter);
            let taken = if name == "replica" { vec!["s3".to_owned()] } else { taken };
            for (value, status) in
                taken.iter().map(|value| (value, 200)).chain(refused.iter().map(|value| (value, 400)))
            {
                let target = format!("{path}?{others}{name}={value}");
                let answer = ask(&app, &target, None).await;
                assert_eq!(answer.status().as_u16(), status, "{target}: {:?}", answer.body());
            }
            let without = ask(&app, &format!("{path}?{others}"), None).await;
            assert_eq!(without.status() == StatusCode::BAD_REQUEST, required(&parameter), "{path} without {name}");
        }
    }
}

/// What is answered to this, as JSON, with the schema that it has to be as. Status and headers are as described.
async fn answer<'a>(document: &'a Value, app: &App, path: &str, target: &str, tag: Option<&str>) -> (Value, &'a Value) {
    let answer = ask(app, target, tag).await;
    let status = answer.status().as_str().to_owned();
    let response = document::resolve(document, &document["paths"][path]["get"]["responses"][&status]);
    let mut expected: Vec<_> =
        response["headers"].as_object().expect("headers").keys().map(|name| name.to_ascii_lowercase()).collect();
    // The server dates every answer; a part that is all there is has no neighbours.
    expected.retain(|name| {
        name != "date" && name != "content-encoding" && (name != "link" || answer.headers().contains_key("link"))
    });
    let mut found: Vec<_> = answer.headers().keys().map(|name| name.as_str().to_owned()).collect();
    found.retain(|name| !["content-type", "x-content-type-options"].contains(&name.as_str()));
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "headers of {status} of {target}");
    let Some(content_type) = answer.headers().get("content-type") else { return (Value::Null, &Value::Null) };
    let content = &response["content"][content_type.to_str().expect("text")];
    assert!(content.is_object(), "{target}: {status} with {content_type:?} is described");
    (serde_json::from_slice(answer.body()).unwrap_or_default(), &content["schema"])
}

/// All properties that some schema has.
fn properties(document: &Value) -> document::Properties {
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let of = |(name, schema): (&String, &Value)| {
        let properties = schema["properties"].as_object().into_iter().flat_map(Map::keys);
        properties.map(|property| format!("{name}.{property}")).collect::<Vec<_>>()
    };
    schemas.iter().flat_map(of).collect()
}

#[tokio::test]
async fn answers_are_as_described_and_have_every_field() {
    let document = description();
    let mut met = document::Properties::new();
    for report in [sample::everything(), sample::full(), sample::report(Vec::new())] {
        let lone = report.assessment.databases.is_empty();
        let app = app(report);
        for (path, target) in [
            ("/api/v1/report", "/api/v1/report"),
            ("/api/v1/databases", "/api/v1/databases"),
            ("/api/v1/databases", "/api/v1/databases?limit=1&after=app"),
            ("/api/v1/databases/{name}", "/api/v1/databases/app"),
            ("/api/v1/databases/{name}", "/api/v1/databases/%00"),
            ("/api/v1/databases/{name}", "/api/v1/databases/app?x"),
            ("/api/v1/checks", "/api/v1/checks?limit=1"),
            ("/api/v1/checks", "/api/v1/checks?database=none"),
            ("/api/v1/alerts", "/api/v1/alerts"),
            ("/api/v1/restorable", "/api/v1/restorable?limit=2"),
            ("/api/v1/restorable", "/api/v1/restorable?after=zzz"),
            ("/api/v1/history", "/api/v1/history?database=app&replica=s3&metric=streamgauge_replica_lag_seconds"),
            ("/api/v1/history", "/api/v1/history?database=app"),
        ] {
            let (value, schema) = answer(&document, &app, path, target, None).await;
            met.extend(document::check(&document, schema, &value).unwrap_or_else(|why| panic!("{target}: {why}")));
            // Whatever is said beside it is noticed, wherever it stands.
            for place in objects(&value) {
                let mut more = value.clone();
                more.pointer_mut(&place).expect("an object")["more"] = 1.into();
                let why = document::check(&document, schema, &more).expect_err(&place);
                assert!(why.contains("more is not known"), "{target}{place}: {why}");
            }
        }
        assert!(lone || answer(&document, &app, "/api/v1/report", "/api/v1/report", Some("*")).await.0.is_null());
    }
    let unmet: Vec<_> = properties(&document).difference(&met).cloned().collect();
    assert_eq!(unmet, [""; 0], "no sample has these");
}

/// Where objects stand in a value that are no maps of names that people chose.
fn objects(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(entries) => entries.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let own = value.is_object().then(String::new);
    let below = inner
        .into_iter()
        .filter(|(name, _)| name != "labels" && name != "annotations")
        .flat_map(|(name, value)| objects(value).into_iter().map(move |place| format!("/{name}{place}")));
    own.into_iter().chain(below).collect()
}

#[tokio::test]
async fn an_agent_without_a_report_says_so_as_described() {
    let (document, cell) = (description(), ReportCell::default());
    let app = App { cell, reload: ReloadHandle::new().0, guard: Guard::default() };
    for (path, _) in described(&document).into_iter().filter(|(path, _)| !path.ends_with(".yaml")) {
        let metric = "streamgauge_replica_lag_seconds";
        let target = if path.ends_with("history") {
            format!("{path}?database=app&metric={metric}")
        } else {
            path.replace("{name}", "app")
        };
        let (value, schema) = answer(&document, &app, path, &target, None).await;
        assert_eq!(value["status"], 503, "{path}");
        document::check(&document, schema, &value).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
}

#[tokio::test]
async fn the_description_is_served() {
    let answer = ask(&app(sample::full()), "/api/v1/openapi.yaml", None).await;
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &HeaderValue::from_static("application/yaml"))
    );
    assert_eq!(answer.body(), api::OPENAPI);
}
