//! Puts together what `litestream.yml` files and `[[database]]` entries say of the same database, and names the result.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::observe::Observe;
use super::settings::Settings;
use crate::domain::drill::DrillPolicy;
use crate::domain::naming::{Names, Naming};
use crate::domain::shard::Shard;
use crate::domain::target::{DatabaseFiles, Objectives, ReplicaTarget, Target, TargetName};
use crate::infrastructure::config::litestream::Database;
use crate::infrastructure::config::problem::{Place, Sink};
use crate::infrastructure::config::value::paths::default_meta_path;

/// A database or replica that something named.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// A name that a person gave there.
    pub(crate) name: Option<String>,
    pub(crate) files: Option<DatabaseFiles>,
    pub(crate) replicas: Vec<ReplicaTarget>,
    pub(crate) objectives: Objectives,
    pub(crate) drill: DrillPolicy,
    /// A `litestream.yml` names it.
    pub(crate) litestream: bool,
    /// What decides which of several agents watches it, where that is not its first replica.
    pub(crate) shard_key: Option<String>,
}

/// Collects databases; the same path is one database.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    found: Vec<Found>,
    /// By the path that this process sees, and by the one that Litestream knows.
    by_path: BTreeMap<PathBuf, usize>,
}

impl Collection {
    /// Adds a database of a `litestream.yml`. `retention` and `snapshot-interval` of `[objectives]` win over what is
    /// written there: they say what is wanted, the file only what Litestream was told.
    pub(crate) fn add_litestream(&mut self, database: Database, settings: &Settings, sink: &Sink) {
        if let Some(index) = self.by_path.get(&database.path) {
            let message = "names a database twice, so Litestream 0.5.17 refuses to start";
            let problem = database.place.problem(message);
            sink.warning(problem.value(&database.litestream_path.display().to_string()));
            self.found[*index].add_replicas(database.replicas);
            return;
        }
        let index = self.found.len();
        self.by_path.insert(database.path.clone(), index);
        self.by_path.entry(database.litestream_path).or_insert(index);
        let wanted = &settings.objectives;
        let mut found = Found {
            place: database.place,
            name: None,
            files: Some(DatabaseFiles { path: database.path, meta_path: Some(database.meta_path) }),
            replicas: Vec::new(),
            objectives: Objectives {
                retention: wanted.retention.or(database.retention),
                snapshot_interval: wanted.snapshot_interval.or(database.snapshot_interval),
                ..wanted.clone()
            },
            drill: settings.drill.policy.clone(),
            litestream: true,
            shard_key: None,
        };
        found.add_replicas(database.replicas);
        self.found.push(found);
    }

    /// Adds a `[[database]]`, or applies it to the database of the same path.
    pub(crate) fn add_entry(&mut self, mut entry: Found, sink: &Sink) {
        let replicas = std::mem::take(&mut entry.replicas);
        let path = entry.files.as_ref().map(|files| files.path.clone());
        match path.as_ref().and_then(|path| self.by_path.get(path)).map(|index| &mut self.found[*index]) {
            Some(found) if found.place.file == entry.place.file => {
                let shown = path.unwrap_or_default().display().to_string();
                let place = Place { key: format!("{}.path", entry.place.key), ..entry.place };
                sink.problem(place.problem("given twice").value(&shown).accepted("each path once"));
            }
            Some(found) => {
                found.objectives = Objectives {
                    retention: entry.objectives.retention.or(found.objectives.retention),
                    snapshot_interval: entry.objectives.snapshot_interval.or(found.objectives.snapshot_interval),
                    ..entry.objectives
                };
                (found.place, found.name, found.drill) = (entry.place, entry.name, entry.drill);
                let meta_path = entry.files.and_then(|files| files.meta_path);
                if let (Some(files), Some(meta_path)) = (&mut found.files, meta_path) {
                    files.meta_path = Some(meta_path);
                }
                found.add_replicas(replicas);
            }
            None => {
                self.by_path.extend(path.map(|path| (path, self.found.len())));
                // Without a replica there is no Litestream to keep metadata.
                if let Some(DatabaseFiles { path, meta_path }) = &mut entry.files
                    && !replicas.is_empty()
                {
                    meta_path.get_or_insert_with(|| default_meta_path(path));
                }
                entry.add_replicas(replicas);
                self.found.push(entry);
            }
        }
    }

    /// Adds the replicas below a place but those that something else names. None takes a name from something else.
    pub(crate) fn add_observed(&mut self, observe: &Observe, replicas: &BTreeSet<String>, before: &Names) {
        let identities =
            |found: &Found| found.replicas.iter().map(|replica| replica.location.identity()).collect::<Vec<_>>();
        let known: HashSet<String> = self.found.iter().flat_map(identities).collect();
        let names: HashSet<String> = self.found.iter().filter_map(|found| found.name.clone()).collect();
        let taken = |name: &str, path: &str| names.contains(name) || before.is_of_another(name, path);
        let found = replicas.iter().filter_map(|relative| observe.found(relative, taken));
        let new = |found: &Found| !identities(found).iter().any(|identity| known.contains(identity));
        self.found.extend(found.filter(new));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All targets that are a shard's own, sorted by name. What had a name keeps it, and all shards give the same names.
    pub(crate) fn into_targets(self, shard: Option<Shard>, names: &mut Names, sink: &Sink) -> Vec<Target> {
        let found = drop_repeated(self.found, sink);
        warn_of_shared_replicas(&found, sink);
        check_names(&found, sink);
        let naming: Vec<Naming> = found.iter().map(Found::naming).collect();
        let named = names.assign(&naming).into_iter().zip(found);
        let own = named.filter(|(_, found)| shard.is_none_or(|shard| shard.owns(&found.shard_key())));
        let mut targets: Vec<Target> = own.map(|(name, found)| found.target(name)).collect();
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        for at in 1..targets.len() {
            let (before, target) = (&targets[at - 1], &targets[at]);
            let drill = (target.drill == before.drill).then(|| Arc::clone(&before.drill));
            let objectives = (target.objectives == before.objectives).then(|| Arc::clone(&before.objectives));
            let target = &mut targets[at];
            drill.into_iter().for_each(|drill| target.drill = drill);
            objectives.into_iter().for_each(|objectives| target.objectives = objectives);
        }
        targets
    }
}

impl Found {
    /// Appends those that are not there yet, each under a name of its own.
    fn add_replicas(&mut self, replicas: Vec<ReplicaTarget>) {
        for mut replica in replicas {
            if self.replicas.iter().any(|known| known.location == replica.location) {
                continue;
            }
            let wanted = replica.name.clone();
            let mut number = 2;
            while self.replicas.iter().any(|known| known.name == replica.name) {
                replica.name = format!("{wanted}-{number}");
                number += 1;
            }
            // Most have one.
            self.replicas.reserve_exact(1);
            self.replicas.push(replica);
        }
    }

    /// What decides which of several agents watches it: all replicas of a database are one's.
    fn shard_key(&self) -> String {
        let replica = || self.replicas.first().map(|replica| replica.location.identity());
        self.shard_key.clone().or_else(replica).unwrap_or_else(|| self.naming().path)
    }

    fn naming(&self) -> Naming {
        let path = match &self.files {
            Some(files) => files.path.display().to_string(),
            None => self.replicas.first().map(remote_path).unwrap_or_default(),
        };
        Naming { path, given: self.name.clone() }
    }

    fn target(self, name: Arc<str>) -> Target {
        let Objectives { rpo, rto, .. } = self.objectives;
        let mut replicas: Vec<_> = self.replicas.into_iter().map(Arc::new).collect();
        // It took over the memory of the larger items.
        replicas.shrink_to_fit();
        Target {
            name: TargetName(name),
            litestream: self.litestream,
            database: self.files.map(Arc::new),
            replicas,
            objectives: Arc::new(self.objectives),
            drill: Arc::new(DrillPolicy { rpo, rto, ..self.drill }),
        }
    }
}

/// The path after which a replica without a database is named: `bucket/path`, or its directory.
pub(super) fn remote_path(replica: &ReplicaTarget) -> String {
    if let Some(path) = replica.location.directory() {
        return path.display().to_string();
    }
    let url = replica.location.url();
    let path = url.split_once("://").map_or(url.as_str(), |(_, path)| path);
    path.trim_end_matches(['/', '.']).to_owned()
}

/// Replicas without a database that are the same place twice.
fn drop_repeated(found: Vec<Found>, sink: &Sink) -> Vec<Found> {
    let mut seen = HashSet::new();
    let first = |found: &Found| {
        let Naming { path, given: None } = found.naming() else { return true };
        let new = found.files.is_some() || seen.insert(path);
        if !new {
            sink.problem(found.place.problem("the same replica as another, without a `name` to tell them apart"));
        }
        new
    };
    found.into_iter().filter(first).collect()
}

/// Two databases that write to one place destroy each other's backup.
fn warn_of_shared_replicas(found: &[Found], sink: &Sink) {
    let mut owners: HashMap<String, &Found> = HashMap::new();
    for found in found.iter().filter(|found| found.files.is_some()) {
        for replica in &found.replicas {
            let location = &replica.location;
            match owners.get(&location.identity()) {
                Some(owner) => {
                    let path = |found: &Found| found.naming().path;
                    let at = location.endpoint().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
                    let (owner, this, url) = (path(owner), path(found), location.url());
                    let message = format!("{owner} and {this} share the replica {url}{at}");
                    sink.warning(found.place.problem(message));
                }
                None => {
                    owners.insert(location.identity(), found);
                }
            }
        }
    }
}

fn check_names(found: &[Found], sink: &Sink) {
    let mut seen = HashSet::new();
    for Found { place, name, .. } in found {
        if let Some(name) = name
            && !seen.insert(name)
        {
            let place = Place { key: format!("{}.name", place.key), ..place.clone() };
            sink.problem(place.problem("given twice").value(name).accepted("each name once"));
        }
    }
}
