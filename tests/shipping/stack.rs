//! docker/compose.yml from real programs: the files that it mounts and the commands that it names, with addresses and paths
//! of this machine in them, and streamgauge in its image. Only holds and intervals are shorter.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::compose::{services, strings};
use crate::image::IMAGE;
use crate::lab::certificates::Certificate;
use crate::lab::{Lab, Process, free_port, http, wait_for};
use crate::{output, root, text};

/// What compose names, and what stands for it here.
struct Stand {
    home: TempDir,
    replacements: Vec<(&'static str, String)>,
}

impl Stand {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for directory in ["data", "s3", "s3/backups", "state", "rules"] {
            DirBuilder::new().mode(0o700).create(home.path().join(directory)).unwrap();
        }
        let path = |name: &str| home.path().join(name).display().to_string();
        let ports: Vec<u16> = std::iter::repeat_with(free_port).take(4).collect();
        let at = |index: usize| format!("127.0.0.1:{}", ports[index]);
        let replacements = vec![
            // By name and with TLS, which no other test has.
            ("http://s3:9000", format!("https://localhost:{}", ports[0])),
            ("streamgauge:10099", at(1)),
            ("pager:8081", at(2)),
            ("alertmanager:9093", at(3)),
            ("0.0.0.0:8081", at(2)),
            ("\":10099\"", format!("\"{}\"", at(1))),
            (":9000", at(0)),
            ("/data/shop.db", path("data/shop.db")),
            ("/etc/litestream.yml", path("litestream.yml")),
            ("/etc/streamgauge/streamgauge.toml", path("streamgauge.toml")),
            ("/etc/prometheus/rules", path("rules")),
            ("/demo/", format!("{}/docker/demo/", root().display())),
            ("/s3", path("s3")),
        ];
        Self { home, replacements }
    }

    /// Where a service listens.
    fn address(&self, service: &str) -> &str {
        &self.replacements.iter().find(|(name, _)| *name == service).unwrap().1
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// Each place once, so that nothing that stands for something is replaced again.
    fn replaced(&self, text: &str) -> String {
        let mut rest = text;
        let mut out = String::new();
        'text: while let Some(first) = rest.chars().next() {
            for (name, here) in &self.replacements {
                if let Some(behind) = rest.strip_prefix(name) {
                    out += here;
                    rest = behind;
                    continue 'text;
                }
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
        out
    }

    /// A file that compose mounts, for here, and quicker where `shorter` says so.
    fn file(&self, path: &str, name: &str, shorter: &[(&str, &str)]) -> String {
        let mut text = self.replaced(&text(path));
        for (long, short) in shorter {
            assert!(text.contains(long), "{path} has no {long}");
            text = text.replace(long, short);
        }
        fs::write(self.home.path().join(name), &text).unwrap();
        text
    }

    /// Starts a program with the arguments and the environment that compose gives the service.
    fn start(&self, service: &str, mut program: Command, more: &[&str]) -> Process {
        let declared = strings(&services()[service]["command"]);
        // Where the image has no entry point, the first word is the program.
        let arguments = declared.iter().skip_while(|word| *word == "python3");
        program.args(arguments.map(|argument| self.replaced(argument))).args(more);
        Process::spawn(&mut program, self.home.path().join(format!("{service}.log")))
    }

    fn pager(&self) -> String {
        http::get(self.address("pager:8081"), "/", &[]).unwrap().text()
    }

    fn told(&self, words: &str) -> bool {
        self.pager().lines().any(|line| line.split_once(' ').is_some_and(|(_, told)| told.starts_with(words)))
    }
}

/// The environment that compose gives a service.
fn environment(service: &str) -> Vec<(String, String)> {
    let declared = services()[service]["environment"].as_object().unwrap().clone();
    declared.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
}

#[test]
fn litestream_hangs_and_the_pager_is_told() {
    let (lab, stand, image) = (Lab::find(), Stand::new(), &*IMAGE);
    let home: &Path = stand.home.path();
    let own = Certificate::self_signed(home, "server", "DNS:localhost");
    let [certificate, key] = own.files();

    let mut pager = stand.start("pager", lab.program("py/bin/python"), &[]);
    pager.wait_until_listening(stand.address("pager:8081"));
    let _app = stand.start("app", lab.program("py/bin/python"), &[]);
    let mut s3 = stand.start("s3", lab.program("py/bin/rclone"), &["--cert", certificate, "--key", key]);
    s3.wait_until_listening(stand.address(":9000"));
    wait_for("the database", || home.join("data/shop.db-wal").exists());

    stand.file("docker/litestream.yml", "litestream.yml", &[]);
    let mut litestream = lab.program("litestream/0.5.17/litestream");
    litestream.envs(environment("litestream")).env("SSL_CERT_FILE", certificate);
    let litestream = stand.start("litestream", litestream, &[]);

    stand.file("docker/streamgauge.toml", "streamgauge.toml", &[("rpo = \"30s\"", "rpo = \"15s\"")]);
    let bound = |name: &str, options: &str| format!("{0}:{0}{options}", stand.path(name));
    let mounts = [
        bound("data", ":ro"),
        bound("streamgauge.toml", ":ro"),
        format!("{}:/var/lib/streamgauge", stand.path("state")),
        format!("{certificate}:/etc/ssl/certs/ca-certificates.crt:ro"),
        "/etc/hosts:/etc/hosts:ro".to_owned(),
        format!("{}:/etc/litestream.yml:ro", stand.path("litestream.yml")),
    ];
    let streamgauge = || image.command(&mounts, &environment("streamgauge"));
    let mut agent = stand.start("streamgauge", streamgauge(), &[]);
    let address = stand.address("streamgauge:10099");
    agent.wait_until_listening(address);

    let quick = [("15s", "1s")];
    stand.file("docker/prometheus/prometheus.yml", "prometheus.yml", &quick);
    let rules = stand.file("alerts/streamgauge.rules.yml", "rules.yml", &[]);
    let shortened = rules.lines().map(|line| match line.trim_start().split_once(": ") {
        Some((key @ ("for" | "keep_firing_for"), _)) => format!("        {key}: 3s\n"),
        _ => format!("{line}\n"),
    });
    fs::write(home.join("rules/streamgauge.rules.yml"), shortened.collect::<String>()).unwrap();
    let quick = [("group_wait: 30s", "group_wait: 0s"), ("group_interval: 5m", "group_interval: 1s")];
    let yaml = stand.file("docker/alertmanager/alertmanager.yml", "alertmanager.yml", &quick);
    let alertmanager = lab.alertmanager_at(stand.address("alertmanager:9093"), "prometheus-3", home, &yaml, &[]);
    alertmanager.wait_until_ready();
    let yaml = fs::read_to_string(home.join("prometheus.yml")).unwrap();
    let prometheus = lab.prometheus_with("prometheus-3", home, &yaml, &["--rules.alert.resend-delay=1s"]);

    let lag = || prometheus.value("streamgauge_replica_lag_seconds{database=\"shop\"}");
    wait_for("a proven replica", || lag().is_some_and(|lag| lag < 5.0));
    // By the profile that is usual, the result of the check is told, and not what it is made of.
    let down =
        |status: &str| prometheus.value(&format!("streamgauge_checks{{check=\"LitestreamDown\",status=\"{status}\"}}"));
    assert_eq!([down("fail"), down("unknown")], [Some(0.0); 2], "processes are visible");
    // In the image, as its user: a restore in a process of its own, into the state directory.
    output(streamgauge().args(["drill", "--config.file", &stand.path("streamgauge.toml")]));
    wait_for("the dead-man's switch", || stand.told("/deadman firing Watchdog"));
    assert!(!stand.told("/page firing ReplicationLag"));

    // As `fault` does.
    litestream.freeze();
    wait_for("the page", || stand.told("/page firing ReplicationLag shop "));
    litestream.thaw();
    wait_for("the end", || stand.told("/page resolved ReplicationLag shop "));
}
