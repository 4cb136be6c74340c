//! Names over databases that come and go, with the watch that counts their commits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rusqlite::Connection;
use streamgauge::domain::moment::Moment;
use streamgauge::domain::naming::Names;
use streamgauge::infrastructure::config::Input;
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::DatabaseWatch;

use super::{Files, load};

const PLACES: &[&str] = &["app.db", "a/app.db", "b/app.db", "a/app.sqlite", "b/a/app.db", "c/other.db", "a/other.db"];

/// A directory whose databases come and go, named and watched as the agent does it.
struct Site {
    files: Files,
    names: Names,
    watch: Watch,
    open: BTreeMap<PathBuf, Connection>,
    /// Every name that was ever given, and to what.
    given: BTreeMap<String, PathBuf>,
    /// The commits that were counted under the names that are watched.
    counted: BTreeMap<String, u64>,
}

impl Site {
    fn new() -> Self {
        let files = Files::new();
        std::fs::create_dir(files.path().join("data")).expect("a directory");
        let dir = files.path().join("data");
        let text = format!(
            "dbs:\n  - {{dir: {}, pattern: 'app.*', recursive: true, replica: {{url: 's3://bkt/x'}}}}\n  \
             - {{dir: {}, pattern: 'other.db', recursive: true, watch: true, replica: {{url: 's3://bkt/y'}}}}\n",
            dir.display(),
            dir.display()
        );
        files.write("litestream.yml", text);
        Self {
            files,
            names: Names::default(),
            watch: Watch::new(),
            open: BTreeMap::new(),
            given: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// Makes a database, or removes it if it is there.
    fn toggle(&mut self, place: &str) {
        let path = self.files.path().join("data").join(place);
        if self.open.remove(&path).is_some() {
            ["", "-wal", "-shm"].iter().for_each(|suffix| {
                let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
            });
            return;
        }
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        let connection = Connection::open(&path).expect("a database");
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x)").expect("a table");
        self.open.insert(path, connection);
    }

    fn commit(&self, place: &str) {
        if let Some(connection) = self.open.get(&self.files.path().join("data").join(place)) {
            connection.execute_batch("INSERT INTO t VALUES (1)").expect("a row");
        }
    }

    /// What is saved is all that the next run knows.
    fn restart(&mut self) {
        let saved = serde_json::to_string(&self.names).expect("JSON");
        self.names = serde_json::from_str(&saved).expect("JSON");
        self.watch = Watch::new();
        self.counted.clear();
    }

    /// Reads the configuration and looks at everything, and checks what has to be so whatever happened before.
    fn discover(&mut self) {
        let input = Input { names: self.names.clone(), ..self.files.input() };
        let loaded = load(&input).unwrap_or_else(|problems| panic!("{problems:#?}"));
        self.names = loaded.names;
        let now = Moment::new(Timestamp::now(), SignedDuration::ZERO);
        self.names.settle(now.wall(), SignedDuration::from_hours(1));
        let targets: Vec<_> =
            loaded.targets.into_iter().filter_map(|target| Some((target.name, target.database?))).collect();
        assert_eq!(targets.len(), self.open.len());
        let mut counted = BTreeMap::new();
        for (name, files) in &targets {
            let path = self.given.entry(name.to_string()).or_insert_with(|| files.path.clone());
            assert_eq!(*path, files.path, "{name} named another file before");
        }
        let paths: std::collections::BTreeSet<&PathBuf> = self.given.values().collect();
        assert_eq!(paths.len(), self.given.len(), "a file has two names: {:?}", self.given);
        self.watch.set_targets(targets.clone());
        for (name, _) in &targets {
            let update = self.watch.look(name, now).expect("it is watched");
            assert!(!update.polled, "{name} has no events");
            let commits = update.look.expect("readable").counters.commits;
            let before = self.counted.get(name.as_str()).copied().unwrap_or_default();
            assert!(commits >= before, "{name}: {commits} commits after {before}");
            counted.insert(name.to_string(), commits);
        }
        self.counted = counted;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Toggle(usize),
    Commit(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0..PLACES.len();
    prop_oneof![4 => place.clone().prop_map(Step::Toggle), 3 => place.prop_map(Step::Commit), 1 => Just(Step::Restart)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_name_stays_with_its_file_and_its_counter_never_falls(steps in proptest::collection::vec(step(), 1..24)) {
        let mut site = Site::new();
        for step in steps {
            match step {
                Step::Toggle(place) => site.toggle(PLACES[place]),
                Step::Commit(place) => site.commit(PLACES[place]),
                Step::Restart => site.restart(),
            }
            site.discover();
        }
    }
}

fn named(names: &[(&str, &Path)]) -> String {
    names.iter().map(|(name, path)| format!("[[database]]\nname = {name:?}\npath = {path:?}\n")).collect()
}

/// What a person renames, and what two names are swapped, is the same files under other names.
#[test]
fn files_whose_names_change_go_on_to_have_events() {
    let files = Files::new();
    let [one, two] = ["one.db", "two.db"].map(|name| files.path().join(name));
    let _open: Vec<_> = [&one, &two]
        .map(|path| {
            let connection = Connection::open(path).expect("a database");
            connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x)").expect("a table");
            connection
        })
        .into();
    let mut watch = Watch::new();
    let now = Moment::new(Timestamp::now(), SignedDuration::ZERO);
    for names in [["a", "b"], ["b", "a"], ["c", "b"], ["b", "d"]] {
        files.write("streamgauge.toml", named(&[(names[0], &one), (names[1], &two)]));
        let targets = files.load().targets.into_iter();
        watch.set_targets(targets.filter_map(|target| Some((target.name, target.database?))).collect());
        let updates = watch.poll(now);
        assert!(!updates.is_empty(), "nothing was looked at");
        for update in updates {
            assert!(!update.polled && update.look.is_ok(), "{update:?}");
        }
    }
}
