//! What packages do beyond their files: the scripts of an rpm and of an apk, and the service under the real OpenRC.
//!
//! Each has a system of its own, in which files belong to several users: that takes root, which CI is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::lab::{Lab, command};
use crate::packages::{build, two_versions};
use crate::{output, root};

/// A system in which only root is known, with the programs and libraries of this one to read.
struct System {
    root: PathBuf,
    binds: Vec<(PathBuf, &'static str)>,
}

impl System {
    fn new(root: PathBuf, sbin: &Path) -> Self {
        let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
        let binds = [(Path::new("/usr/bin"), "/bin"), (sbin, "/sbin"), (libraries, "/usr/lib/x86_64-linux-gnu")];
        let mut system = Self { root, binds: Vec::new() };
        for directory in
            ["lib", "lib64", "usr/bin", "usr/sbin", "usr/lib", "etc", "var/lib", "run", "tmp", "proc", "dev"]
        {
            fs::create_dir_all(system.root.join(directory)).unwrap();
        }
        symlink("/usr/lib/x86_64-linux-gnu", system.root.join("lib/x86_64-linux-gnu")).unwrap();
        symlink("../run", system.root.join("var/run")).unwrap();
        fs::set_permissions(system.root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        system.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        system.write("etc/group", "root:x:0:\n");
        for (from, to) in binds.into_iter().chain([(Path::new("/lib64"), "/lib64")]) {
            system.bind(from, to);
        }
        system
    }

    /// Shows a file or a directory of this system there.
    fn bind(&mut self, from: impl AsRef<Path>, to: &'static str) {
        let (from, at) = (from.as_ref().to_owned(), self.root.join(&to[1..]));
        match from.is_dir() {
            true => fs::create_dir_all(at).unwrap(),
            // Below another one it is there already.
            false if to.starts_with("/bin/") || at.exists() => (),
            false => self.write(&to[1..], ""),
        }
        self.binds.push((from, to));
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A program that writes down how it was called, and then does something.
    fn stand_in(&self, path: &str, does: &str) {
        self.write(path, &format!("#!/bin/sh\necho \"${{0##*/}} $*\" >>/called\n{does}\n"));
        fs::set_permissions(self.root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What was called since it was asked last.
    fn called(&self) -> Vec<String> {
        let called = fs::read_to_string(self.root.join("called")).unwrap_or_default();
        self.write("called", "");
        called.lines().map(str::to_owned).collect()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// What a script says there. Whatever it starts ends with it.
    fn run(&self, script: &str) -> String {
        let mut bwrap = command("bwrap");
        bwrap.arg("--bind").arg(&self.root).args(["/", "--proc", "/proc", "--dev", "/dev"]);
        for (from, to) in &self.binds {
            bwrap.arg("--ro-bind").arg(from).arg(to);
        }
        bwrap.args(["--unshare-pid", "--unshare-net", "--die-with-parent", "--clearenv"]);
        bwrap.args(["--setenv", "PATH", "/usr/bin:/usr/sbin:/bin:/sbin", "/bin/sh", "-ec", script]);
        output(&mut bwrap)
    }
}

/// Mode, owner and path of what is for the service and root only.
const PRIVATE: &str = "stat -c '%a %U:%G %n' /etc/streamgauge /etc/streamgauge/streamgauge.toml";
const PRIVATE_SAID: &str =
    "750 root:streamgauge /etc/streamgauge\n640 root:streamgauge /etc/streamgauge/streamgauge.toml\n";

#[test]
fn an_rpm_is_installed_upgraded_and_erased() {
    let home = tempfile::tempdir().unwrap();
    let packages = two_versions(home.path());
    let mut system = System::new(home.path().join("root"), Path::new("/usr/sbin"));
    system.bind(&packages[0]["rpm"], "/old.rpm");
    system.bind(&packages[1]["rpm"], "/new.rpm");
    system.bind("/usr/lib/rpm", "/usr/lib/rpm");
    system.bind("/etc/login.defs", "/etc/login.defs");
    system.stand_in("usr/bin/systemctl", "");
    // rpm looks in /bin first.
    system.bind(system.root.join("usr/bin/systemctl"), "/bin/systemctl");
    let rpm = |arguments: &str| system.run(&format!("rpm --dbpath=/var/lib/rpm {arguments}"));

    rpm("--nodeps --nosignature -U /old.rpm");
    assert_eq!(rpm("-V --nodeps streamgauge"), "", "all of it is there as it was packed");
    assert_eq!(system.run(PRIVATE), PRIVATE_SAID, "the group was there before the files");
    let users = system.read("etc/passwd");
    assert!(users.lines().last().unwrap().ends_with(":streamgauge:/var/lib/streamgauge:/sbin/nologin"), "{users}");
    assert_eq!(system.called(), ["systemctl --no-reload preset streamgauge.service"]);

    // What an administrator decided outlives an upgrade and the package.
    system.write("etc/streamgauge/streamgauge.toml", "# mine\n");
    rpm("--nodeps --nosignature -U /new.rpm");
    assert_eq!(rpm("-q streamgauge").trim(), "streamgauge-99.0.0-1.x86_64");
    assert_eq!(system.read("etc/streamgauge/streamgauge.toml"), "# mine\n");
    assert_eq!(system.read("etc/passwd"), users);
    assert_eq!(system.called(), ["systemctl daemon-reload", "systemctl try-restart streamgauge.service"]);
    rpm("-e --nodeps streamgauge");
    assert_eq!(system.called(), ["systemctl --no-reload disable --now streamgauge.socket streamgauge.service"]);
    let saved = "etc/streamgauge/streamgauge.toml.rpmsave";
    assert_eq!(system.read(saved), "# mine\n");
    let left = output(command("find").arg(&system.root).args(["-name", "*streamgauge*", "-printf", "%P\n"]));
    assert_eq!(left.lines().collect::<BTreeSet<_>>(), ["etc/streamgauge", saved].into());
}

/// What apk does with a package, which is nowhere but in Alpine: a script, the files with their users and groups, a script.
#[test]
fn an_apk_makes_a_user_and_a_service_that_runs_under_openrc() {
    let (home, lab) = (tempfile::tempdir().unwrap(), Lab::find());
    let apk = &build(root(), &home.path().join("packages"), 1_700_000_000)["apk"];
    let mut system = System::new(home.path().join("root"), &lab.path("openrc/sbin"));
    system.bind(apk, "/streamgauge.apk");
    // The shell of Alpine.
    system.bind(lab.path("openrc/bin/busybox"), "/bin/sh");
    // Debian's BusyBox has neither.
    system.stand_in("usr/sbin/addgroup", "grep -q ^streamgauge: /etc/group || echo streamgauge:x:102: >>/etc/group");
    let user = "streamgauge:x:101:102:streamgauge:/var/lib/streamgauge:/sbin/nologin";
    system.stand_in("usr/sbin/adduser", &format!("grep -q ^streamgauge: /etc/passwd || echo {user} >>/etc/passwd"));
    let unpacked = "/bin/tar --warning=no-unknown-keyword --ignore-zeros -xzf /streamgauge.apk";
    system.run(&format!("mkdir /control && {unpacked} -C /control"));
    for script in [".pre-install", ".pre-upgrade", ".post-upgrade", ".pre-deinstall", "etc/init.d/streamgauge"] {
        system.run(&format!("sh -n /control/{script}"));
    }
    let files = output(command("find").arg(system.root.join("control")).args(["-type", "f", "-printf", "%P\n"]));
    assert!(!files.contains("systemd") && !files.contains("sysusers"), "Alpine has OpenRC: {files}");

    system.run("/control/.pre-install");
    let made = "adduser -S -D -H -h /var/lib/streamgauge -s /sbin/nologin -G streamgauge -g streamgauge streamgauge";
    assert_eq!(system.called(), ["addgroup -S streamgauge", made]);
    system.run(&format!("{unpacked} -C / etc usr"));
    assert_eq!(system.run(PRIVATE), PRIVATE_SAID);
    let modes = system.run("stat -c '%a %U' /etc/conf.d/streamgauge /etc/init.d/streamgauge");
    assert_eq!(modes, "600 root\n755 root\n", "credentials are for root only");

    // As a system that was started by OpenRC is.
    system.bind(lab.path("openrc/lib/rc"), "/lib/rc");
    for library in ["librc.so.1", "libeinfo.so.1"] {
        fs::copy(lab.path("openrc/lib/x86_64-linux-gnu").join(library), system.root.join("usr/lib").join(library))
            .unwrap();
    }
    for directory in
        ["daemons", "exclusive", "failed", "inactive", "options", "scheduled", "started", "starting", "stopping"]
    {
        fs::create_dir_all(system.root.join("run/openrc").join(directory)).unwrap();
    }
    fs::create_dir_all(system.root.join("etc/runlevels/default")).unwrap();
    for file in ["run/openrc/softlevel", "etc/rc.conf", "etc/insserv.conf"] {
        system.write(file, "");
    }
    // Debian's asks PAM whether a service may have a user.
    system.write("etc/pam.d/other", "account required pam_permit.so\nsession required pam_permit.so\n");
    system.bind(env!("CARGO_BIN_EXE_streamgauge"), "/usr/bin/streamgauge");
    let config = "[[database]]\nname = \"shop\"\nreplica = [{ url = \"file:///tmp/shop\" }]\n";
    system.write("etc/streamgauge/streamgauge.toml", config);
    let settings = system.read("etc/conf.d/streamgauge");
    // As many files as a machine of tests may open; and the log where a test can read it.
    let more =
        "rc_ulimit='-n 1024'\noutput_log=/var/lib/streamgauge/log error_log=$output_log\nexport AWS_REGION=nowhere\n";
    system.write("etc/conf.d/streamgauge", &format!("{settings}{more}"));
    let said = system.run(
        "exec 2>&1
        rc-update add streamgauge default
        rc-service streamgauge start
        for _ in $(seq 100); do streamgauge healthcheck && break; sleep 0.3; done
        stat -c 'made %a %U:%G %n' /var/lib/streamgauge /run/streamgauge
        agent=$(pidof streamgauge)
        grep -E '^(Uid|Gid|Groups|Umask|NoNewPrivs)' /proc/$agent/status | tr -s '\\t' ' '
        tr '\\0' '\\n' </proc/$agent/environ | grep -E '^(AWS|MALLOC)'
        rc-service streamgauge reload
        /control/.pre-upgrade
        /control/.post-upgrade
        for _ in $(seq 100); do streamgauge healthcheck && break; sleep 0.3; done
        [ $agent != $(pidof streamgauge) ] && echo restarted
        /control/.pre-deinstall
        pidof streamgauge || echo stopped
        ls /etc/runlevels/default",
    );
    for line in [
        "streamgauge is healthy",
        "made 700 streamgauge:streamgauge /var/lib/streamgauge",
        "made 755 streamgauge:streamgauge /run/streamgauge",
        "Umask: 0077",
        "Uid: 101 101 101 101",
        "Gid: 102 102 102 102",
        "NoNewPrivs: 1",
        "AWS_REGION=nowhere",
        "MALLOC_ARENA_MAX=1",
        "restarted",
        "stopped",
    ] {
        assert!(said.lines().any(|said| said.trim() == line), "no {line:?} in {said}");
    }
    assert!(said.trim_end().ends_with("stopped"), "it is in no runlevel: {said}");
    let log = system.read("var/lib/streamgauge/log");
    assert!(log.contains("configuration reloaded"), "{log}");
}
