//! Commands that look once and end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::litestream::{printed, quick_yaml};
use super::lab::{Lab, command, free_port, wait_for};
use super::{database, told, watching};

/// Exit code and standard output of a check that needs no patience.
fn check(config: &Path, more: &[&str]) -> (i32, String) {
    let config = format!("--config.file={}", config.display());
    let (code, out, error) = told(&[&["check", &config], more].concat());
    assert_eq!(error, "");
    (code, out)
}

#[test]
fn a_healthy_database_is_ok_and_a_stalled_one_is_critical() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = home.path().join("app.db");
    let mut writer = lab.writer(&path);
    writer.create_table();
    let replica = format!("type: file, path: {}", home.path().join("replica").display());
    let litestream = lab.replicate("0.5.17", home.path(), &quick_yaml("0.5.17", &path, &replica));
    let config = home.path().join("streamgauge.toml");
    fs::write(&config, format!("[litestream]\nconfig = {:?}\n[objectives]\nrpo = \"1s\"\n", litestream.config))
        .unwrap();
    writer.commit(3);
    // The usual umask, in a directory that nobody else can enter.
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", path.display());
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }

    wait_for("health", || check(&config, &["--wait=1s"]).0 == 0);
    let (code, table) = check(&config, &["app", "--wait=30s"]);
    let expected = "\
OK app -> file://HOME/replica
  database          HOME/app.db, …
  recovery point    …
  lag               0s
  at risk           0 B
  proof age         …
  restorable since  …
  gaps              0

1 ok

not observable: busy timeout (busy_timeout=5000); have the application run `PRAGMA busy_timeout = 5000;`
not observable: foreign keys (foreign_keys=ON); have the application run `PRAGMA foreign_keys = ON;`
not observable: synchronous (synchronous=NORMAL); have the application run `PRAGMA synchronous = NORMAL;`
";
    assert_eq!((code, redacted(&table, home.path()).as_str()), (0, expected));
    let (code, json) = check(&config, &["--format=json", "--wait=30s"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["schema"], &report["complete"]), (0, &1.into(), &true.into()));
    assert_eq!(report["databases"][0]["replicas"][0]["lag_seconds"], 0.0);
    let row = |item: &str| {
        let rows = report["checklist"].as_array().unwrap();
        rows.iter().find(|row| row["item"] == item).unwrap_or_else(|| panic!("no row {item}")).clone()
    };
    assert_eq!((&row("WAL mode")["status"], &row("replication running")["status"]), (&"pass".into(), &"pass".into()));
    let busy = row("busy timeout");
    assert_eq!((&busy["status"], &busy["line"]), (&"not_observable".into(), &"PRAGMA busy_timeout = 5000;".into()));
    assert_eq!(row("restore tested")["status"], "unknown", "a single look knows of no drill");

    litestream.process.freeze();
    writer.commit(1);
    wait_for("the replica to be as old as the objective", || check(&config, &["--wait=1s"]).0 == 2);
    let (_, table) = check(&config, &[]);
    assert!(table.starts_with("CRITICAL app -> "), "{table}");
    let said = |what: &str| table.contains(&format!("  failed            ReplicationLag: commits {what}"));
    assert!(said("are waiting and the replica does not move") || said("have been waiting for"), "{table}");
    assert!(table.contains("is stopped (SIGSTOP)"), "{table}");
    litestream.process.thaw();

    drop(litestream);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    let (_, table) = check(&config, &["--wait=1s"]);
    // Another test's Litestream may run meanwhile.
    let down = |what: &str| table.lines().any(|line| line.contains("LitestreamDown: ") && line.contains(what));
    assert!(down("no `litestream replicate` process") || down("but does not have the database open"), "{table}");
    let drifted = "  failed            PermissionDrift: database: mode 0664, expected 0600 or 0640";
    assert!(table.contains(drifted), "{table}");
}

/// A program to which the open files of others do not show: without this capability, root may not look into processes that
/// have it.
fn stranger(program: &str) -> Command {
    let root = rustix::process::getuid().is_root();
    let mut stranger = command(if root { "setpriv" } else { program });
    stranger.args(["--bounding-set=-sys_ptrace", program].iter().filter(|_| root));
    stranger
}

/// Whoever is not root sees a Litestream of somebody else, but not which files it has open.
#[test]
fn a_litestream_of_another_user_that_works_on_other_databases_is_none() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| home.path().join(format!("{name}.db")));
    let replica = format!("type: file, path: {}", home.path().join("replica").display());
    let _open = [&own, &other].map(|path| database(path));
    let litestream = lab.replicate("0.5.17", home.path(), &quick_yaml("0.5.17", &own, &replica));
    let config = home.path().join("of-both.yml");
    let both =
        format!("dbs:\n  - path: {}\n  - {{path: {}, replica: {{{replica}}}}}\n", own.display(), other.display());
    fs::write(&config, both).unwrap();
    let file = format!("/proc/{}/fd/0", litestream.process.pid());
    assert_eq!(stranger("readlink").arg(file).output().unwrap().status.success(), !rustix::process::getuid().is_root());
    let toml = format!("[litestream]\nconfig = [{config:?}]\n");
    let agent = stranger(env!("CARGO_BIN_EXE_streamgauge"));
    let agent = Agent::start_by(agent, home.path(), &toml, &home.path().join("state"), &[]);
    let up = |database| agent.metric("streamgauge_litestream_up", &[("database", database)]);
    wait_for("which database it works on", || (up("own"), up("other")) == (Some(1.0), Some(0.0)));
    drop(litestream);
    wait_for("its end", || up("own") == Some(0.0));
}

/// As POSIX has it, a process loses its locks on a file when it closes it anywhere, such as behind a copy of it.
#[test]
fn a_database_whose_users_lost_their_locks_and_hide_their_files_is_not_said_to_be_another_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    fs::copy(&path, home.path().join("copy.db")).unwrap();
    let config = home.path().join("streamgauge.toml");
    fs::write(&config, watching("", [&path])).unwrap();
    let mut check = stranger(env!("CARGO_BIN_EXE_streamgauge"));
    let output = check.args(["check", "--format=json", "--config.file"]).arg(&config).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["databases"][0]["checks"].as_array().unwrap();
    let replaced = checks.iter().find(|verdict| verdict["check"] == "DatabaseReplaced").unwrap();
    assert_ne!(replaced["status"], "fail", "{replaced}");
}

/// Status and detail of a check of the first database.
fn verdict(config: &Path, name: &str) -> (String, String) {
    let (_, json) = check(config, &["--format=json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let checks = report["databases"][0]["checks"].as_array().unwrap();
    let found = checks.iter().find(|verdict| verdict["check"] == name).unwrap();
    (found["status"].as_str().unwrap().to_owned(), found["detail"].as_str().unwrap().to_owned())
}

/// The retention key was forgotten: Litestream deletes what somebody wants to keep.
#[test]
fn history_that_litestream_deleted_is_missed_and_a_young_replica_is_not() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (path, replica) = (home.path().join("app.db"), home.path().join("replica"));
    let mut writer = lab.writer(&path);
    writer.create_table();
    let yaml = quick_yaml("0.5.17", &path, &format!("type: file, path: {}", replica.display()))
        .replace("[{interval: 3s}, {interval: 9s}]", "[{interval: 1s}, {interval: 2s}]")
        .replace("{interval: 20s, retention: 45s}", "{interval: 2s, retention: 3s}");
    let litestream = home.path().join("litestream.yml");
    fs::write(&litestream, &yaml).unwrap();
    let mut once = lab.litestream("0.5.17");
    printed(once.args(["replicate", "-once", "-config"]).arg(&litestream).output().unwrap()).unwrap();
    let config = home.path().join("streamgauge.toml");
    let text = "[objectives]\nretention = \"30d\"\nsnapshot-interval = \"1h\"\n";
    fs::write(&config, format!("[litestream]\nconfig = {litestream:?}\n{text}")).unwrap();

    let (status, detail) = verdict(&config, "RecoveryWindowShort");
    assert_eq!(status, "pass", "{detail}");
    assert!(
        detail.starts_with("it reaches back ") && detail.ends_with(", to its beginning; objective 30 d 0 h"),
        "{detail}"
    );
    let _running = lab.replicate("0.5.17", home.path(), &yaml);
    wait_for("history to be deleted", || {
        writer.commit(1);
        verdict(&config, "RecoveryWindowShort").0 == "fail"
    });
    assert_eq!(verdict(&config, "RetentionNotEnforced").0, "pass");
    assert_eq!(verdict(&config, "SnapshotStale").0, "pass");
}

/// The table without what is different each time.
fn redacted(table: &str, home: &Path) -> String {
    let table = table.replace(&home.display().to_string(), "HOME");
    let lines = table.lines().map(|line| match line.trim_start().split("  ").next().unwrap() {
        "database" => format!("{}, …\n", line.split(", ").next().unwrap()),
        "recovery point" | "proof age" | "restorable since" => {
            assert!(!line.contains("unknown") && !line.contains("never"), "{line}");
            format!("{}…\n", &line[..20])
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn what_cannot_be_known_is_unknown() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let config = home.path().join("streamgauge.toml");
    fs::write(&config, watching("", [&path])).unwrap();
    let (code, table) = check(&config, &[]);
    assert_eq!(code, 1, "what has no replica is not well: {table}");
    assert!(table.starts_with("WARNING app (no replica)\n"), "{table}");
    assert!(table.contains("  failed            NoReplica: none is configured\n"), "{table}");
    assert_eq!(check(&config, &[path.to_str().unwrap()]).0, 1, "a database goes by its path as well");

    let (code, out, error) = told(&["check", "nosuch", &format!("--config.file={}", config.display())]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert_eq!(error, "error: nosuch: no such database\nhint: known databases: app\n");

    let nobody = format!("127.0.0.1:{}", free_port());
    let replica = format!(
        "[[database.replica]]\nurl = \"s3://bucket/app\"\nendpoint = \"http://{nobody}\"\nregion = \"us-east-1\"\n\
         access-key-id = \"someone\"\nsecret-access-key = \"something\"\n"
    );
    fs::write(&config, watching("", [&path]) + &replica).unwrap();
    let (code, table) = check(&config, &[]);
    assert_eq!(code, 3, "{table}");
    assert!(table.starts_with("UNKNOWN app -> s3://bucket/app\n"), "{table}");
    assert!(table.contains("reason            list s3://bucket/app"), "{table}");
    assert!(!table.contains("something"), "{table}");

    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let replica = format!("[[database.replica]]\nurl = \"file://{}\"\n", empty.display());
    fs::write(&config, watching("", [&path]) + &replica).unwrap();
    let (code, table) = check(&config, &[]);
    assert_eq!(code, 2, "{table}");
    assert!(table.contains("failed            NeverReplicated: there is nothing at file://"), "{table}");
}

/// What is no SQLite database (or is encrypted) is said to be none, with patience or without.
#[test]
fn a_file_that_is_no_database_is_critical() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    fs::write(&path, vec![0xa5; 8192]).unwrap();
    let config = home.path().join("streamgauge.toml");
    fs::write(&config, watching("", [&path])).unwrap();
    for more in [&[][..], &["--wait=0s"], &["--wait=2s"]] {
        let (code, table) = check(&config, more);
        assert_eq!(code, 2, "{table}");
        assert!(table.contains("  database          unreadable\n"), "{table}");
        assert!(table.contains("  hint              not a SQLite database, or an encrypted one\n"), "{table}");
        assert!(table.contains("  failed            DatabaseUnreadable: "), "{table}");
        assert!(!table.contains("pending") && !table.contains("not looked at yet"), "{table}");
    }
}

/// Nothing that is watched is nothing that is known.
#[test]
fn nothing_watched_is_unknown() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let yaml = home.path().join("litestream.yml");
    let directory = format!("dbs:\n  - dir: {}\n    pattern: \"*.db\"\n    replica: {{path: /r}}\n", empty.display());
    for text in ["dbs: []\n", "db:\n  - path: /srv/app.db\n", &directory] {
        fs::write(&yaml, text).unwrap();
        let config = format!("--litestream.config={}", yaml.display());
        let (code, table, _) = told(&["check", &config]);
        assert_eq!(code, 3, "{text}: {table}");
        assert!(table.ends_with("UNKNOWN no databases found\n"), "{text}: {table}");
        let (code, json, _) = told(&["check", &config, "--format=json"]);
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((code, &report["status"]), (3, &"unknown".into()), "{text}");
        for command in ["drill", "restorable"] {
            let (code, out, error) = told(&[command, &config]);
            assert_eq!((code, out.as_str()), (3, ""), "{command} {text}: {error}");
        }
    }
}

#[test]
fn a_configuration_is_listed_with_its_warnings() {
    let home = tempfile::tempdir().unwrap();
    let yaml = home.path().join("litestream.yml");
    let text = "dbs:\n  - path: /srv/app.db\n    colour: blue\n    replica: {url: \"s3://user:hidden@bucket/app\"}\n";
    fs::write(&yaml, text).unwrap();
    let (code, out, error) = told(&["config", "check", &format!("--litestream.config={}", yaml.display())]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.starts_with("app  /srv/app.db\n    s3  s3://bucket/app\n"), "{out}");
    assert!(out.contains("    drilled daily, or every 30 days above a download of 1 GiB, up to 10.0 GiB\n"), "{out}");
    assert!(out.contains(&format!("warning: {}:3: dbs[0].colour: unknown key", yaml.display())), "{out}");
    assert!(out.ends_with("ok: 1 database, 1 warning\n"), "{out}");
    assert!(!out.contains("hidden"), "{out}");
}

#[test]
fn the_catalogue_of_metrics_is_for_machines_too() {
    let (code, json, _) = told(&["metrics", "--format", "json"]);
    let catalogue: serde_json::Value = serde_json::from_str(&json).unwrap();
    let families = catalogue.as_array().unwrap();
    let lag = families.iter().find(|family| family["name"] == "streamgauge_replica_lag_seconds").unwrap();
    assert_eq!((code, &lag["type"]), (0, &"gauge".into()), "{lag}");
    let (_, table, _) = told(&["metrics"]);
    let (_, markdown, _) = told(&["metrics", "--format=markdown"]);
    for family in families {
        let name = family["name"].as_str().unwrap();
        assert!(table.contains(name) && markdown.contains(name), "{name}");
    }
}

#[test]
fn shells_take_the_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, error) = told(&["completions", shell]);
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(script.contains("litestream.config"), "{shell}: {script}");
        let file = home.path().join(shell);
        fs::write(&file, script).unwrap();
        // A shell that is not installed cannot be asked.
        if let Ok(parsed) = Command::new(shell).arg("-n").arg(&file).output() {
            assert!(parsed.status.success(), "{shell}: {}", String::from_utf8_lossy(&parsed.stderr));
        }
    }
}

/// `streamgauge metrics | head -1`.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut command = super::lab::command(env!("CARGO_BIN_EXE_streamgauge"));
    let mut child = command.arg("metrics").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    std::thread::sleep(Duration::from_millis(50));
    assert!(child.wait().unwrap().success());
}

/// Nagios reads the first line of standard output and the exit code.
#[test]
fn nagios_has_one_line_and_its_own_codes() {
    let home = tempfile::tempdir().unwrap();
    let paths = ["a.db", "b.db"].map(|name| home.path().join(name));
    let _open = paths.each_ref().map(|path| database(path));
    let config = home.path().join("streamgauge.toml");
    fs::write(&config, watching("", &paths)).unwrap();
    let (code, line) = check(&config, &["--format=nagios"]);
    let expected = "STREAMGAUGE WARNING: 2 warning; a: NoReplica; b: NoReplica | databases=2;;;0 critical=0;;;0 \
                    unknown=0;;;0 warning=2;;;0 lag=U lag_unknown=2;;;0 at_risk=U\n";
    assert_eq!((code, line.as_str()), (1, expected));
    fs::write(&config, "nonsense").unwrap();
    let (code, line) = check(&config, &["--format=nagios"]);
    assert!(code == 3 && line.starts_with("STREAMGAUGE UNKNOWN: ") && line.lines().count() == 1, "{code}: {line}");
}

#[test]
fn several_databases_have_a_line_each_and_all_is_told_when_asked() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let paths: Vec<_> = (0..5).map(|number| home.path().join(format!("db{number}.db"))).collect();
    let _open: Vec<_> = paths.iter().map(|path| database(path)).collect();
    fs::remove_file(&paths[3]).unwrap();
    let config = home.path().join("streamgauge.toml");
    fs::write(&config, watching("", &paths)).unwrap();
    let (code, table) = check(&config, &[]);
    assert_eq!(code, 2, "{table}");
    let rows: Vec<&str> = table.lines().take(3).collect();
    assert!(rows[0].starts_with("STATE     DATABASE  SAFE UNTIL"), "{table}");
    assert!(rows[1].starts_with("CRITICAL  db3 ") && rows[2].starts_with("WARNING   db0 "), "{table}");
    assert!(
        table.contains("NoReplica on 5 databases: ") && table.matches("none is configured").count() == 1,
        "{table}"
    );
    let command = format!("`streamgauge check db3 --config.file {}`", config.display());
    let line = table.lines().skip_while(|line| !line.starts_with("1 critical, 4 warning; `")).take(9);
    let line = line.collect::<Vec<_>>().join(" ");
    assert!(line.contains(&format!("{command} shows one in full, `streamgauge why ")), "{table}");
    assert!(!table.contains('…'), "{table}");
    let (_, blocks) = check(&config, &["--verbose"]);
    assert_eq!(blocks.matches("failed            NoReplica: none is configured").count(), 5, "{blocks}");
}
