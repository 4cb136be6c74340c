//! `--what-if KEY=VALUE`: a setting that is tried out.

use crate::domain::cost::{KEYS, Key, Settings, Takes};
use crate::domain::price::USUAL;
use crate::infrastructure::config::{did_you_mean, read_duration, read_size};

/// A setting and the value that is tried.
#[derive(Clone, Debug)]
pub struct Change {
    key: &'static Key,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    /// Seconds or bytes.
    Number(f64),
    Word(String),
}

/// Reads `KEY=VALUE`.
///
/// # Errors
///
/// What is wrong with it, and what is accepted.
pub(super) fn read_change(text: &str) -> Result<Change, String> {
    let (name, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    let key = Key::find(name).ok_or_else(|| {
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        // What stands before the point is often left out.
        let short: Vec<&str> = names.iter().filter_map(|name| name.rsplit('.').next()).collect();
        let meant = did_you_mean(name, &names).or_else(|| did_you_mean(name, &short).filter(|short| *short != name));
        let meant = meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default();
        format!("unknown setting `{name}`{meant}; accepted: {}", names.join(", "))
    })?;
    let seconds = || match value {
        "0" => Ok(0.0),
        _ => read_duration(value).map(|duration| duration.as_secs_f64()),
    };
    let value = match key.takes {
        Takes::Duration(_) => Value::Number(seconds()?),
        Takes::Retention(_) => Value::Number(seconds()?),
        Takes::Size(_) => Value::Number(read_size(value)? as f64),
        Takes::Class if value.is_empty() => return Err("accepted: the name of a storage class".to_owned()),
        Takes::Store if !Settings::default().move_to(value) => {
            let mut names: Vec<&str> = USUAL.iter().map(|row| row.provider).collect();
            names.dedup();
            return Err(format!("no such provider; accepted: a word that only one of these has: {}", names.join(", ")));
        }
        Takes::Class | Takes::Store => Value::Word(value.to_owned()),
    };
    match (key.takes, &value) {
        (Takes::Duration(_), Value::Number(seconds)) if *seconds <= 0.0 => Err("must be above zero".to_owned()),
        _ => Ok(Change { key, value }),
    }
}

/// Sets what is tried; another store first, because its storage classes are its own.
pub(super) fn apply(changes: &[Change], settings: &mut Settings) {
    let is_move = |change: &&Change| matches!(change.key.takes, Takes::Store);
    for change in changes.iter().filter(is_move).chain(changes.iter().filter(|change| !is_move(change))) {
        match (change.key.takes, &change.value) {
            (Takes::Duration(set) | Takes::Size(set), Value::Number(number)) => set(settings, *number),
            (Takes::Retention(set), Value::Number(age)) => set(settings, Some(*age).filter(|age| *age > 0.0)),
            (Takes::Class, Value::Word(class)) => settings.class = Some(class.clone()),
            (Takes::Store, Value::Word(word)) => {
                settings.move_to(word);
            }
            _ => {}
        }
    }
}
