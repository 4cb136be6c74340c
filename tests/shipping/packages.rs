//! The packages, made by packaging/build: the same bytes each time, installed, upgraded, removed and purged.
//!
//! What is in them is not run here, so that a small program stands for the binary. `packaging/lint` examines real ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use streamgauge::delivery::cli::version::VERSION;

use crate::lab::{Lab, command};
use crate::{output, root};

/// Makes all packages, and gives them by their extension.
fn build(directory: &Path, epoch: u64) -> BTreeMap<String, PathBuf> {
    let path = format!("{}:{}", Lab::find().path("ship/bin").display(), std::env::var("PATH").unwrap());
    let mut build = Command::new(root().join("packaging/build"));
    build.args(["/usr/bin/true", "amd64"]).arg(directory);
    output(build.env("PATH", path).env("SOURCE_DATE_EPOCH", epoch.to_string()));
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.extension().unwrap_or_default().to_str().unwrap().to_owned(), file)).collect()
}

/// Every file of a directory by its path in it.
fn tree(directory: &Path) -> Vec<String> {
    let found = output(command("find").arg(directory).args(["!", "-type", "d", "-printf", "%P\n"]));
    found.lines().map(str::to_owned).collect()
}

#[test]
fn the_same_binary_gives_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (build(&home.path().join("1"), 1_700_000_000), build(&home.path().join("2"), 1_700_000_000));
    assert_eq!(first.keys().collect::<Vec<_>>(), ["", "apk", "deb", "gz", "rpm"]);
    for (extension, package) in &first {
        assert!(fs::read(package).unwrap() == fs::read(&second[extension]).unwrap(), "{extension}");
        assert!(extension.is_empty() || package.to_str().unwrap().contains(VERSION), "{}", package.display());
    }
    let sums = first[""].parent().unwrap();
    output(command("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(sums));

    // The rpm and the tarball hold what the deb holds.
    let rpm = output(command("rpm").args(["-qp", "--nosignature", "-l"]).arg(&first["rpm"]));
    let tarball = output(command("tar").arg("-tzf").arg(&first["gz"]));
    let apk = output(command("tar").args(["--ignore-zeros", "-tzf"]).arg(&first["apk"]));
    for file in
        ["streamgauge.service", "streamgauge-run.1", "streamgauge.toml", "streamgauge.rules.yml", "_streamgauge"]
    {
        for (kind, listed) in [("rpm", &rpm), ("tarball", &tarball), ("apk", &apk)] {
            assert!(listed.contains(file), "{kind} has no {file}:\n{listed}");
        }
    }
    let config = output(command("rpm").args(["-qp", "--nosignature", "--configfiles"]).arg(&first["rpm"]));
    assert_eq!(config.trim(), "/etc/streamgauge/streamgauge.toml");
    let host = output(command("rpm").args(["-qp", "--nosignature", "--qf", "%{BUILDHOST}"]).arg(&first["rpm"]));
    assert_eq!(host, "streamgauge", "that of another machine would make another package");
    let scripts = output(command("rpm").args(["-qp", "--nosignature", "--scripts"]).arg(&first["rpm"]));
    for step in ["preset streamgauge.service", "disable --now", "try-restart", "useradd -r"] {
        assert!(scripts.contains(step), "{scripts}");
    }
}

/// A system of its own for dpkg, whose scripts are told where it is.
struct System {
    root: PathBuf,
}

impl System {
    fn new(root: PathBuf) -> Self {
        for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc", "var/log"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(root.join(file), "").unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        Self { root }
    }

    fn dpkg(&self, arguments: &[&str]) {
        let mut dpkg = command("dpkg");
        let root = self.root.display();
        dpkg.arg(format!("--root={root}")).arg(format!("--log={root}/var/log/dpkg.log"));
        dpkg.args(["--force-not-root", "--force-script-chrootless", "--force-depends", "--force-confdef"]);
        output(dpkg.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }
}

#[test]
fn a_deb_is_installed_upgraded_removed_and_purged() {
    let home = tempfile::tempdir().unwrap();
    let old = build(&home.path().join("old"), 1_700_000_000)["deb"].clone();
    let system = System::new(home.path().join("root"));
    system.dpkg(&["-i", old.to_str().unwrap()]);
    let wanted = "etc/systemd/system/multi-user.target.wants/streamgauge.service";
    assert!(!system.has(wanted) && system.has("usr/bin/streamgauge"), "{:?}", tree(&system.root));
    assert!(system.read("etc/passwd").contains("streamgauge:x:"), "{}", system.read("etc/passwd"));
    let mode = output(command("stat").args(["-c", "%a"]).arg(system.root.join("etc/streamgauge/streamgauge.toml")));
    assert_eq!(mode.trim(), "640");

    // What an administrator decided outlives an upgrade.
    let config = system.root.join("etc/streamgauge/streamgauge.toml");
    fs::write(&config, "# mine\n").unwrap();
    let systemctl = |verb: &str| {
        let root = format!("--root={}", system.root.display());
        output(command("systemctl").args([&root, verb, "streamgauge.service"]));
    };
    systemctl("enable");
    let newer = newer(&home.path().join("newer"), &old);
    system.dpkg(&["-i", newer.to_str().unwrap()]);
    assert!(system.has(wanted), "it was enabled");
    systemctl("disable");
    system.dpkg(&["-i", newer.to_str().unwrap()]);
    assert!(system.read("var/lib/dpkg/status").contains("Version: 99.0.0-1"));
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    assert!(!system.has(wanted), "it was disabled");

    systemctl("enable");
    system.dpkg(&["-i", newer.to_str().unwrap()]);
    fs::create_dir_all(system.root.join("var/lib/streamgauge")).unwrap();
    fs::write(system.root.join("var/lib/streamgauge/state.sqlite"), "").unwrap();
    system.dpkg(&["--remove", "streamgauge"]);
    assert!(!system.has("usr/bin/streamgauge") && system.has("var/lib/streamgauge/state.sqlite"));
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    system.dpkg(&["--purge", "streamgauge"]);
    let left: Vec<String> = tree(&system.root).into_iter().filter(|file| file.contains("streamgauge")).collect();
    assert_eq!(left, [""; 0]);
    assert!(!system.read("etc/passwd").contains("streamgauge"), "{}", system.read("etc/passwd"));
}

/// The same package with a later version.
fn newer(directory: &Path, package: &Path) -> PathBuf {
    output(command("dpkg-deb").arg("-R").arg(package).arg(directory));
    let control = directory.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    fs::write(&control, text.replace(&format!("Version: {VERSION}-1"), "Version: 99.0.0-1")).unwrap();
    let newer = directory.with_extension("deb");
    output(command("dpkg-deb").args(["--root-owner-group", "-Znone", "-b"]).arg(directory).arg(&newer));
    newer
}
