//! The systemd units: whether systemd understands them, how much they leave open, and that the service and a drill work inside of it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lab::certificates::Certificate;
use crate::lab::{Lab, Process, command, free_port, http, wait_for};
use crate::{output, root, text};

const UNIT: &str = "packaging/systemd/streamgauge.service";

/// What systemd-analyze may say of the unit, in tenths, and of the unit with a drop-in that changes it.
const EXPOSURE: [(&str, u32); 5] = [
    ("1-run-as-application.conf", 18),
    ("2-group.conf", 18),
    ("3-read-all.conf", 21),
    ("observer.conf", 14),
    ("socket.conf", 18),
];

/// The unit with one of the drop-ins, and the binary of this build in place of the installed one.
fn installed(directory: &Path, drop_in: Option<&str>) -> PathBuf {
    let binary = |text: String| text.replace("/usr/bin/streamgauge", env!("CARGO_BIN_EXE_streamgauge"));
    let unit = directory.join("streamgauge.service");
    fs::write(&unit, binary(text(UNIT))).unwrap();
    fs::write(directory.join("streamgauge.socket"), text("packaging/systemd/streamgauge.socket")).unwrap();
    let drop_ins = directory.join("streamgauge.service.d");
    fs::create_dir_all(&drop_ins).unwrap();
    if let Some(name) = drop_in {
        fs::write(drop_ins.join(name), binary(text(&format!("packaging/systemd/drop-ins/{name}")))).unwrap();
    }
    unit
}

#[test]
fn systemd_understands_every_line_and_little_is_left_open() {
    let folder = fs::read_dir(root().join("packaging/systemd/drop-ins")).unwrap();
    assert_eq!(folder.count(), EXPOSURE.len(), "each drop-in has a bound");
    for (drop_in, most) in [(None, 18)].into_iter().chain(EXPOSURE.map(|(name, most)| (Some(name), most))) {
        let directory = tempfile::tempdir().unwrap();
        let unit = installed(directory.path(), drop_in);
        let verified = command("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        // It exits with 0 for an unknown key, and only says so.
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(said.trim().is_empty() && verified.status.success(), "{drop_in:?}: {said}");
        let security = output(command("systemd-analyze").args(["security", "--offline=true"]).arg(&unit));
        let level = security.rsplit_once("streamgauge.service: ").unwrap().1.split(' ').next().unwrap();
        let tenths = (level.parse::<f64>().unwrap() * 10.0).round() as u32;
        assert!(tenths <= most, "{drop_in:?} is {level}, and was {most} tenths at most:\n{security}");
    }
}

/// The service says that it is ready, is healthy, and reads its configuration anew; a restore works, and so do TLS and a socket. A drill lowers its own priority, bounds its own memory, and starts a process: under the unit's system calls, without any
/// capability, and with a read-only system.
#[test]
fn the_service_and_a_drill_work_under_the_directives() {
    let (lab, home) = (Lab::find(), tempfile::tempdir().unwrap());
    let path = |name: &str| home.path().join(name);
    let mut writer = lab.writer(&path("shop.db"));
    writer.create_table();
    let yaml = format!(
        "dbs:\n  - path: {}\n    replica: {{type: file, path: {}, sync-interval: 200ms}}\n",
        path("shop.db").display(),
        path("replica").display()
    );
    let litestream = lab.replicate("0.5.17", home.path(), &yaml);
    writer.commit(10);
    wait_for("replication", || path("replica/ltx/0").is_dir());
    let toml = format!("[litestream]\nconfig = [{:?}]\n", litestream.config);
    fs::write(path("streamgauge.toml"), toml).unwrap();
    fs::create_dir(path("state")).unwrap();

    let filter = path("filter.bpf");
    let mut python = lab.program("py/bin/python");
    python.arg(root().join("tests/shipping/seccomp.py")).arg(root().join(UNIT)).stdout(File::create(&filter).unwrap());
    output(&mut python);
    let sandbox = |words: &str| {
        let mut shell = Command::new("sh");
        let inside = format!(
            "exec bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --bind \"$1\" \"$1\" --bind \"$1/state\" \"$1/state\" \
             --unshare-user --uid 990 --gid 990 --cap-drop ALL --die-with-parent --seccomp 9 9<\"$2\" {words}"
        );
        shell.args(["-c", &inside, "sh"]).arg(home.path()).arg(&filter);
        shell.args(["--config.file", path("streamgauge.toml").to_str().unwrap()]);
        shell.env("STREAMGAUGE__STORAGE__PATH", path("state"));
        shell
    };
    let binary = env!("CARGO_BIN_EXE_streamgauge");
    let drilled = output(&mut sandbox(&format!("{binary} drill \"$3\" \"$4\"")));
    assert!(drilled.contains("shop"), "{drilled}");
    let notified = UnixDatagram::bind(path("notify.sock")).unwrap();
    notified.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut service = sandbox(&format!("{binary} run --web.listen-address={address} \"$3\" \"$4\""));
    service.env("NOTIFY_SOCKET", path("notify.sock"));
    let service = Process::spawn(&mut service, path("service.log"));
    let mut message = [0; 64];
    let length = notified.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    output(&mut sandbox(&format!("{binary} healthcheck --url=http://{address} \"$3\" \"$4\"")));
    wait_for("a look at the database", || {
        let metrics = http::get(&address, "/metrics", &[]);
        metrics.is_ok_and(|metrics| metrics.text().contains("streamgauge_database_up{database=\"shop\"} 1"))
    });
    assert_eq!(http::request("POST", &address, "/-/reload", &[], b"").unwrap().status, 200);
    drop(service);
    output(&mut sandbox(&format!("{binary} restore -o \"$1/state/restored.db\" shop \"$3\" \"$4\"")));
    assert!(path("state/restored.db").is_file());
    // With certificates, and a socket for whoever has none.
    let own = Certificate::self_signed(home.path(), "server", "DNS:localhost");
    fs::set_permissions(own.key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path("web.yml"), "tls_server_config: {cert_file: server.pem, key_file: server.key}\n").unwrap();
    let listens = format!("--web.listen-address={address} --web.listen-address=unix:\"$1/state/agent.sock\"");
    let words = format!("{binary} run {listens} --web.config.file=\"$1/web.yml\" \"$3\" \"$4\"");
    let service = Process::spawn(&mut sandbox(&words), path("service.log"));
    let asks = format!("{binary} healthcheck --url=unix:\"$1/state/agent.sock\" \"$3\" \"$4\"");
    wait_for("an answer by the socket", || sandbox(&asks).output().unwrap().status.success());
    assert!(http::get(&address, "/metrics", &[]).is_err(), "without TLS");
    drop(service);
    // The filter is there: what the unit forbids is refused.
    let forbidden = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)";
    let refused = sandbox(&format!("python3 -c '{forbidden}'")).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not permitted"), "{refused:?}");
}
