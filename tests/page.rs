//! The pages of the real agent in a real browser, with genuine Litestream behind them: one database in each state.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::agent::Agent;
use lab::litestream::{Litestream, printed};
use lab::writer::Writer;
use lab::{Lab, command, free_port, wait_for};

/// A file can have this name; a page must only ever show it.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&%2e#?";

/// What runs until the test is over.
struct Scene {
    home: tempfile::TempDir,
    agent: Agent,
    _litestreams: Vec<Litestream>,
    _writers: Vec<Writer>,
}

/// A database with a few rows.
fn database(lab: &Lab, folder: &Path, name: &str) -> (PathBuf, Writer) {
    let path = folder.join(format!("{name}.db"));
    let mut writer = lab.writer(&path);
    writer.create_table();
    writer.commit(200);
    (path, writer)
}

/// A `litestream.yml` in a folder of its own.
fn replicate(lab: &Lab, home: &Path, name: &str, databases: &[(&Path, String)]) -> Litestream {
    let folder = home.join(name);
    fs::create_dir(&folder).unwrap();
    let head = "levels: [{interval: 3s}, {interval: 9s}]\nsnapshot: {interval: 1h, retention: 24h}\ndbs:\n";
    let database = |(path, replica): &(&Path, String)| {
        let path = serde_json::to_string(path).unwrap();
        format!("  - path: {path}\n    monitor-interval: 300ms\n    replica: {{{replica}, sync-interval: 500ms}}\n")
    };
    lab.replicate("0.5.17", &folder, &(head.to_owned() + &databases.iter().map(database).collect::<String>()))
}

impl Scene {
    fn start(lab: &Lab) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = home.path();
        let file = |name: &str| format!("type: file, path: {}", at.join("replicas").join(name).display());
        let (shop, mut shopping) = database(lab, at, "shop");
        let (archive, archiving) = database(lab, at, "archive");
        let (crm, managing) = database(lab, at, "crm");
        let (hostile, hosting) = database(lab, at, HOSTILE);
        let (orders, mut ordering) = database(lab, at, "orders");
        let (ledger, keeping) = database(lab, at, "ledger");
        let live = [(&*shop, file("shop")), (&*archive, file("archive")), (&*hostile, file("hostile"))];
        let live = replicate(lab, at, "live", &live);
        let damaged = replicate(lab, at, "damaged", &[(&crm, file("crm"))]);
        let stalled = replicate(lab, at, "stalled", &[(&orders, file("orders"))]);
        let nobody = format!(
            "type: s3, bucket: backups, path: ledger, endpoint: \"http://127.0.0.1:{}\", region: us-east-1, \
             force-path-style: true, access-key-id: test, secret-access-key: testtesttest",
            free_port()
        );
        let gone = replicate(lab, at, "gone", &[(&ledger, nobody)]);
        let toml = format!(
            "[litestream]\nconfig = [{:?}, {:?}, {:?}, {:?}]\n[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\ntimeout = \"2s\"\n\
             reconcile-interval = \"2s\"\n[objectives]\nrpo = \"10s\"\nbudget = 5.0\n[verify]\nspot-checks = false\n[drill]\ninterval = \"20s\"\n\
             [[receiver]]\nkind = \"webhook\"\nname = \"pager\"\nurl = \"http://127.0.0.1:{}\"\n",
            live.config,
            damaged.config,
            stalled.config,
            gone.config,
            free_port(),
        );
        let agent = Agent::start(at, &toml, &[]);
        let replicated = |name: &str| has_level_0(&at.join("replicas").join(name));
        wait_for("everything to be replicated", || {
            ["shop", "archive", "crm", "hostile", "orders"].into_iter().all(replicated)
        });
        shopping.run(Duration::from_millis(200));
        archiving.close();
        agent.wait_until_ready();
        stalled.process.freeze();
        ordering.commit(40);
        // What it compacts while files are cut would be whole.
        damaged.process.freeze();
        damage(&at.join("replicas/crm"));
        let scene = Self {
            home,
            agent,
            _litestreams: vec![live, damaged, stalled, gone],
            _writers: vec![shopping, ordering, managing, hosting, keeping],
        };
        for (database, check, status) in [("orders", "ReplicationLag", "fail"), ("crm", "ReplicaCorrupt", "fail")] {
            scene.wait_for(database, check, status);
        }
        wait_for("drills", || {
            scene.agent.metric("streamgauge_drills_total", &[("database", "shop"), ("result", "passed")]) > Some(0.0)
        });
        scene
    }

    fn wait_for(&self, database: &str, check: &str, status: &str) {
        let labels = [("database", database), ("check", check), ("status", status)];
        wait_for(check, || self.agent.metric("streamgauge_check_status", &labels) == Some(1.0));
    }

    /// Runs a script of tests/page, which has a sentence for all that is not as it should be.
    fn browse(&self, lab: &Lab) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/browser.js");
        let mut node = command("node");
        node.arg(script)
            .arg(format!("http://{}", self.agent.address))
            .arg(HOSTILE)
            .env("NODE_PATH", lab.path("browser/node_modules"));
        node.env("HOME", self.home.path());
        printed(node.output().unwrap())
    }
}

fn level_0(replica: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(replica.join("ltx/0")).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "ltx"))
        .collect();
    paths.sort();
    paths
}

fn has_level_0(replica: &Path) -> bool {
    !level_0(replica).is_empty()
}

/// Cuts the snapshot short that every restore needs.
fn damage(replica: &Path) {
    let mut folders = vec![replica.join("ltx")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                fs::write(&path, &content[..content.len() / 2]).unwrap();
            }
        }
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "what the browser saw")]
fn every_page_is_for_everybody() {
    let lab = Lab::find();
    let scene = Scene::start(&lab);
    match scene.browse(&lab) {
        Ok(said) => eprintln!("{said}"),
        Err(wrong) => panic!("{wrong}"),
    }
}
