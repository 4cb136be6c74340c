//! `[metrics]`: how much of what is known is served to Prometheus.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::alerting::matches;
use crate::domain::limits::SERIES_LIMIT_MIN;
use crate::domain::number;
use crate::domain::profile::{Profile, Selection};
use crate::infrastructure::config::problem::did_you_mean;
use crate::infrastructure::config::value::section::Section;
use crate::usecase::ports::Metrics;

/// The profile of every database that does not say otherwise, and the rest.
pub(crate) fn read(mut section: Section<'_>) -> (Profile, Metrics) {
    let profile = profile(&mut section, "profile").unwrap_or_default();
    let mut names = |key| {
        let found = section.list(key, "names of metrics, with * for any characters", numbers);
        found.unwrap_or_default().into_iter().flatten().collect::<BTreeSet<_>>()
    };
    let (include, exclude) = (names("include"), names("exclude"));
    let selection = Arc::new(Selection { include, exclude, ..Selection::default() });
    let accepted = format!("0 for no limit, or a number from {SERIES_LIMIT_MIN}");
    let limit = section.integer("series-limit", 0..=usize::MAX).filter(|limit| *limit > 0);
    if limit.is_some_and(|limit| limit < SERIES_LIMIT_MIN) {
        section.wrong("series-limit", "too low for the numbers of the agent itself", &accepted);
    }
    (profile, Metrics { selection, series_limit: limit })
}

/// A profile by its word.
pub(super) fn profile(section: &mut Section<'_>, key: &'static str) -> Option<Profile> {
    section.choice(key, Profile::ALL.iter().map(|profile| (profile.as_str(), *profile)))
}

/// The names of the numbers that a pattern names: one that names none is noticed too late.
fn numbers(pattern: &str) -> Result<Vec<&'static str>, String> {
    let names: Vec<&str> = number::all().map(|number| number.name).collect();
    let found: Vec<&str> = names.iter().copied().filter(|name| matches(pattern, name)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let meant = did_you_mean(pattern, &names).map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
    Err(format!("no such metric{meant}"))
}
