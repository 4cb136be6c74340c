//! An OpenAPI description in tests: read from YAML, and what it demands of an answer.

use std::collections::BTreeSet;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Every property of a schema, as `Schema.property`.
pub(crate) type Properties = BTreeSet<String>;

/// Reads YAML without anchors.
pub(crate) fn read(yaml: &str) -> Value {
    let mut parser = Parser::new_from_str(yaml);
    let mut events = std::iter::from_fn(|| parser.next_event().map(|event| event.expect("YAML").0));
    let first = events.find(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(..)));
    node(first.expect("a document"), &mut events)
}

fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => {
            serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.into_owned()))
        }
        Event::Scalar(text, ..) => Value::from(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            while let Some(event) = events.next().filter(|event| !matches!(event, Event::SequenceEnd)) {
                items.push(node(event, events));
            }
            items.into()
        }
        Event::MappingStart(..) => {
            let mut entries = Map::new();
            while let Some(Event::Scalar(key, ..)) = events.next() {
                let value = events.next().expect("a value");
                assert!(entries.insert(key.to_string(), node(value, events)).is_none(), "{key} stands twice");
            }
            entries.into()
        }
        other => panic!("{other:?} is not expected"),
    }
}

/// What a reference refers to.
pub(crate) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} is not there"))
}

/// Which properties a value has that is as `schema` demands, without those that are `null`.
///
/// # Errors
///
/// Where the value is not as demanded.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value) -> Result<Properties, String> {
    Checker { document, name: "" }.check(schema, value)
}

#[derive(Clone, Copy)]
struct Checker<'a> {
    document: &'a Value,
    /// Of the schema that was last referred to.
    name: &'a str,
}

impl<'a> Checker<'a> {
    fn check(self, schema: &'a Value, value: &Value) -> Result<Properties, String> {
        let keywords = schema.as_object().ok_or_else(|| format!("{schema} is no schema"))?;
        let mut met = Properties::new();
        for (keyword, demanded) in keywords {
            let holds = match keyword.as_str() {
                "description" | "x-unit" | "x-bounds-seconds" | "properties" | "required" | "prefixItems" => true,
                "$ref" => {
                    let name = demanded.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                    met.extend(Self { name, ..self }.check(resolve(self.document, schema), value)?);
                    true
                }
                "type" => match demanded.as_array() {
                    Some(types) => types.iter().any(|one| is_of(one, value)),
                    None => is_of(demanded, value),
                },
                "enum" => demanded.as_array().is_some_and(|words| words.contains(value)),
                "const" => demanded == value,
                "anyOf" | "oneOf" => {
                    let results = demanded.as_array().into_iter().flatten().map(|option| self.check(option, value));
                    let (held, failed): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
                    if held.is_empty() {
                        return Err(failed.into_iter().filter_map(Result::err).collect::<Vec<_>>().join(" or "));
                    }
                    let once = held.len() == 1;
                    met.extend(held.into_iter().flatten().flatten());
                    keyword == "anyOf" || once
                }
                "minimum" => value.as_f64().is_none_or(|number| Some(number) >= demanded.as_f64()),
                "maximum" => value.as_f64().is_none_or(|number| Some(number) <= demanded.as_f64()),
                "minItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) >= demanded.as_u64()),
                "maxItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) <= demanded.as_u64()),
                "format" => {
                    demanded != "date-time" || value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_ok())
                }
                "items" => {
                    let first = schema["prefixItems"].as_array().map_or(0, Vec::len);
                    for item in value.as_array().into_iter().flatten().skip(first) {
                        met.extend(self.check(demanded, item)?);
                    }
                    true
                }
                "additionalProperties" => true,
                other => return Err(format!("{}: the keyword {other} is not known", self.name)),
            };
            if !holds {
                return Err(format!("{}: {value} is not of {keyword} {demanded}", self.name));
            }
        }
        for (schema, item) in
            schema["prefixItems"].as_array().into_iter().flatten().zip(value.as_array().into_iter().flatten())
        {
            met.extend(self.check(schema, item)?);
        }
        if let Some(object) = value.as_object() {
            met.extend(self.object(schema, object)?);
        }
        Ok(met)
    }

    fn object(self, schema: &'a Value, object: &Map<String, Value>) -> Result<Properties, String> {
        let mut met = Properties::new();
        if let Some(missing) = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|name| !object.contains_key(name.as_str().unwrap_or_default()))
        {
            return Err(format!("{}: {missing} is missing", self.name));
        }
        for (name, value) in object {
            let known = schema["properties"].get(name);
            let inner = match (known, &schema["additionalProperties"]) {
                (Some(known), _) => known,
                (None, Value::Object(_)) => &schema["additionalProperties"],
                (None, Value::Bool(false)) => return Err(format!("{}: {name} is not known", self.name)),
                (None, _) => continue,
            };
            met.extend(self.check(inner, value).map_err(|why| format!("{name}: {why}"))?);
            if known.is_some() && !value.is_null() {
                met.insert(format!("{}.{name}", self.name));
            }
        }
        Ok(met)
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        other => panic!("{other:?} is no type"),
    }
}
