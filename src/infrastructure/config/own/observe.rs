//! `[[observe]]` of `streamgauge.toml`: a place below which every replica is watched.

use std::collections::BTreeSet;
use std::time::Duration;

use super::database::read_replica;
use super::settings::Settings;
use super::targets::{Found, remote_path};
use super::{drill, objectives};
use crate::domain::drill::DrillPolicy;
use crate::domain::human;
use crate::domain::limits::OBSERVED_DEPTH_MAX;
use crate::domain::shard::Shard;
use crate::domain::target::{Objectives, ReplicaTarget};
use crate::infrastructure::config::litestream::glob;
use crate::infrastructure::config::litestream::replica::Context;
use crate::infrastructure::config::problem::{Place, Problem};
use crate::infrastructure::config::value::label;
use crate::infrastructure::config::value::section::Section;

/// How often a place is listed anew.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// A place below which there are replicas, each of a database of its own.
#[derive(Clone, Debug)]
pub struct Observe {
    place: Place,
    /// A replica at the place itself: those below it are as this one but for where they are.
    pub replica: ReplicaTarget,
    objectives: Objectives,
    drill: DrillPolicy,
    /// How often it is listed. Default 15 minutes.
    pub interval: Duration,
    /// Folders in one another in which replicas are looked for, from 1 to [`OBSERVED_DEPTH_MAX`]. Default 2.
    pub depth: usize,
    /// Patterns of the paths of what is not watched.
    exclude: Vec<String>,
    shard: Option<Shard>,
}

/// What is known of the replicas below a place.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Their paths below it.
    pub replicas: BTreeSet<String>,
    /// How many of them are no longer listed.
    pub gone: usize,
    /// Why they were not listed the last time.
    pub error: Option<String>,
}

/// Reads an `[[observe]]`.
pub(crate) fn read(mut section: Section<'_>, settings: &Settings, context: &Context<'_>) -> Option<Observe> {
    let objectives = objectives::read(&mut section, settings.objectives.clone());
    let drill = drill::read_database(section.section_or_empty("drill"), &settings.drill);
    let interval = section.interval("interval").unwrap_or(INTERVAL);
    let depth = section.integer("depth", 1..=OBSERVED_DEPTH_MAX).unwrap_or(2);
    let pattern = |text: &str| glob::check(text).map(|()| text.to_owned());
    let exclude = section.list("exclude", "patterns such as \"archive-*\"", pattern).unwrap_or_default();
    let place = section.place().clone();
    let replica = read_replica(&mut section, &Context { below: true, ..*context })?;
    Some(Observe { place, replica, objectives, drill, interval, depth, exclude, shard: settings.shard })
}

impl Observe {
    /// The place as a person would write it, without credentials.
    pub fn url(&self) -> String {
        self.replica.location.url()
    }

    /// Whether this agent looks into the folder at `relative`. All below one folder belongs to one shard, so that nobody
    /// else has to look into it.
    pub fn wants(&self, relative: &str) -> bool {
        let excluded = |pattern: &String| {
            let name = relative.rsplit('/').next().unwrap_or(relative);
            [relative, name].iter().any(|text| glob::matches(pattern, text).unwrap_or(false))
        };
        let mine = |shard: Shard| shard.owns(&self.folder(relative));
        self.shard.is_none_or(mine) && !self.exclude.iter().any(excluded)
    }

    /// What to look at when replicas are no longer there.
    pub(crate) fn gone(&self, count: usize) -> Problem {
        let (replicas, are) = (human::counted(count, "replica"), if count == 1 { "is" } else { "are" });
        let it = if count == 1 { "it stays" } else { "they stay" };
        self.place.problem(format!(
            "{replicas} below {} {are} no longer there; {it} watched; if you removed them on purpose, reload with \
             SIGHUP or with a password",
            self.url()
        ))
    }

    /// What is wrong when another section has the same place.
    pub(crate) fn twice(&self) -> Problem {
        let place = Place { key: format!("{}.url", self.place.key), ..self.place.clone() };
        place.problem("given twice").value(&self.url()).accepted("each place once")
    }

    /// What decides to whom a replica belongs: the folder directly below the place.
    fn folder(&self, relative: &str) -> String {
        let first = relative.split('/').next().unwrap_or(relative);
        self.replica.location.below(first).map_or_else(|| relative.to_owned(), |place| place.identity())
    }

    /// The path below the place that a path has by which databases are named; `None` when it is elsewhere.
    pub fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        let base = remote_path(&self.replica);
        // On this host, a path may as well be that of a database.
        let remote = self.replica.location.is_remote();
        let relative = path.strip_prefix(&base)?.strip_prefix('/')?;
        let may_be = !relative.is_empty() && relative.split('/').count() <= self.depth;
        (remote && may_be).then_some(relative)
    }

    /// The replica at `relative`, called so unless that name `is_taken` by something at another path.
    pub(crate) fn found(&self, relative: &str, is_taken: impl Fn(&str, &str) -> bool) -> Option<Found> {
        let replica = ReplicaTarget { location: self.replica.location.below(relative)?, ..self.replica.clone() };
        let path = remote_path(&replica);
        Some(Found {
            place: self.place.clone(),
            name: label::parse(relative).ok().filter(|name| !is_taken(name, &path)),
            files: None,
            shard_key: Some(self.folder(relative)),
            replicas: vec![replica],
            objectives: self.objectives.clone(),
            drill: self.drill.clone(),
            litestream: false,
        })
    }
}
