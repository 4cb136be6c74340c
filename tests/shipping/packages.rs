//! The packages, made by packaging/build: the same bytes each time, installed, upgraded, removed and purged.
//!
//! What is in them is not run here, so that a small program stands for the binary. A release examines the real one as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use streamgauge::delivery::cli::version::VERSION;

use crate::lab::{Lab, command};
use crate::{copied, copied_as, output, root};

/// Makes all packages of a source, and gives them by their extension.
pub(crate) fn build(source: &Path, directory: &Path, epoch: u64) -> BTreeMap<String, PathBuf> {
    build_with(Path::new("/usr/bin/true"), source, directory, epoch)
}

fn build_with(binary: &Path, source: &Path, directory: &Path, epoch: u64) -> BTreeMap<String, PathBuf> {
    let path = format!("{}:{}", Lab::find().path("ship/bin").display(), std::env::var("PATH").unwrap());
    let mut build = Command::new(source.join("packaging/build"));
    build.arg(binary).arg("amd64").arg(directory);
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
    // Files have other times and another place in a copy.
    let source = home.path().join("source");
    copied(&source);
    let built = |source: &Path, name: &str| build(source, &home.path().join(name), 1_700_000_000);
    let (first, second) = (built(root(), "1"), built(&source, "2"));
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
    for file in ["streamgauge-run.1", "streamgauge.toml", "streamgauge.rules.yml", "_streamgauge"] {
        for (kind, listed) in [("rpm", &rpm), ("tarball", &tarball), ("apk", &apk)] {
            assert!(listed.contains(file), "{kind} has no {file}:\n{listed}");
        }
    }
    assert!(rpm.contains("streamgauge.service") && tarball.contains("streamgauge.service"));
    let config = output(command("rpm").args(["-qp", "--nosignature", "--configfiles"]).arg(&first["rpm"]));
    assert_eq!(config.trim(), "/etc/streamgauge/streamgauge.toml");
    let host = output(command("rpm").args(["-qp", "--nosignature", "--qf", "%{BUILDHOST}"]).arg(&first["rpm"]));
    assert_eq!(host, "streamgauge", "that of another machine would make another package");
    let format = "[%{FILENAMES} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]";
    let owners = output(command("rpm").args(["-qp", "--nosignature", "--qf", format]).arg(&first["rpm"]));
    for line in owners.lines() {
        let group = if line.starts_with("/etc/streamgauge") { "streamgauge" } else { "root" };
        assert!(line.ends_with(&format!(" root:{group}")), "{line}");
    }
}

/// As the released one is linked: static, position-independent, all of it bound at the start, without symbols.
#[test]
fn lintian_and_rpmlint_find_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (source, binary) = (home.path().join("program.c"), home.path().join("program"));
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    output(command("cc").args(["-O2", "-static-pie", "-Wl,-z,now", "-s", "-o"]).args([&binary, &source]));
    let packages = home.path().join("packages");
    build_with(&binary, root(), &packages, 1_700_000_000);
    output(command(root().join("packaging/lint")).arg(&packages));
}

/// This version and one that is newer, each with its packages by their extension.
pub(crate) fn two_versions(home: &Path) -> [BTreeMap<String, PathBuf>; 2] {
    let source = home.join("source");
    copied_as(&source, "99.0.0");
    [(root(), "old"), (source.as_path(), "new")].map(|(source, name)| build(source, &home.join(name), 1_700_000_000))
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
    let packages = two_versions(home.path());
    let [old, newer] = [0, 1].map(|index: usize| packages[index]["deb"].to_str().unwrap());
    let system = System::new(home.path().join("root"));
    system.dpkg(&["-i", old]);
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
    system.dpkg(&["-i", newer]);
    assert!(system.has(wanted), "it was enabled");
    systemctl("disable");
    system.dpkg(&["-i", newer]);
    assert!(system.read("var/lib/dpkg/status").contains("Version: 99.0.0-1"));
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    assert!(!system.has(wanted), "it was disabled");

    systemctl("enable");
    system.dpkg(&["-i", newer]);
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
