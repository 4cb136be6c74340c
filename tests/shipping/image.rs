//! The image, built from docker/Dockerfile without an engine, and what runs in it: unprivileged, and with nothing to write to.
//!
//! A static binary takes a quarter of an hour to build, so that the tests put the debug build into the image and lend it
//! this system's libraries. `STATIC_BINARY=path cargo test --test shipping` runs them with what is released instead, and
//! lends it nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::lab::{Lab, Process, command, free_port, http, wait_for};
use crate::{output, root};

/// The user of the image.
const USER: &str = "65532";

/// The image of this build, for all tests.
pub(crate) static IMAGE: LazyLock<Image> = LazyLock::new(Image::build);

/// An image that was built and unpacked.
pub(crate) struct Image {
    home: PathBuf,
    /// Its configuration, as an engine reads it.
    pub(crate) config: Value,
}

impl Image {
    /// Builds it as a release does: a binary is laid out by docker/rootfs and packed by docker/Dockerfile.
    fn build() -> Self {
        // A static is never dropped: it replaces the one before.
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
        let _ = fs::remove_dir_all(&home);
        let (context, layers) = (home.join("context"), home.join("layers"));
        fs::create_dir_all(context.join("dist/rootfs")).unwrap();
        lay_out(&context.join("dist/rootfs/amd64"));
        let buildah = || {
            let mut buildah = command("buildah");
            buildah.args(["--storage-driver=vfs", "--root"]).arg(home.join("storage"));
            buildah.arg("--runroot").arg(home.join("run"));
            buildah
        };
        let arguments = ["ROOT=prebuilt", "TARGETARCH=amd64", "VERSION=0.1.0", "REVISION=abc", "CREATED=today"];
        let arguments = arguments.map(|argument| format!("--build-arg={argument}"));
        // The healthcheck is Docker's own and not part of the format of the Open Container Initiative.
        output(
            buildah()
                .args(["build", "--isolation=chroot", "--format=docker", "--tag=streamgauge", "--file"])
                .arg(root().join("docker/Dockerfile"))
                .args(arguments)
                .arg(&context),
        );
        let destination = format!("dir:{}", layers.display());
        output(buildah().args(["push", "--disable-compression", "streamgauge", &destination]));
        let manifest: Value = serde_json::from_slice(&fs::read(layers.join("manifest.json")).unwrap()).unwrap();
        let blob = |digest: &Value| layers.join(digest.as_str().unwrap().trim_start_matches("sha256:"));
        let config: Value = serde_json::from_slice(&fs::read(blob(&manifest["config"]["digest"])).unwrap()).unwrap();
        let image = Self { config: config["config"].clone(), home };
        image.mount_points();
        for layer in manifest["layers"].as_array().unwrap() {
            output(Command::new("tar").arg("-xf").arg(blob(&layer["digest"])).arg("-C").arg(image.root()));
        }
        image
    }

    /// For what an engine mounts by itself.
    fn mount_points(&self) {
        for directory in ["proc", "dev"] {
            fs::create_dir_all(self.root().join(directory)).unwrap();
        }
    }

    /// Where it is unpacked.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    /// Starts the program as an engine would: as the user of the image, with a filesystem that it cannot write to but for
    /// /tmp and what is mounted. `mounts` are like Docker's: `/from:/to` or `/from:/to:ro`.
    pub(crate) fn command(&self, mounts: &[String], environment: &[(String, String)]) -> Command {
        let mut bwrap = command("bwrap");
        bwrap.args(["--unshare-user", "--uid", USER, "--gid", USER, "--die-with-parent", "--clearenv", "--ro-bind"]);
        bwrap.arg(self.root()).arg("/").args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        let libraries = ["/lib:/lib:ro", "/lib64:/lib64:ro"].map(str::to_owned);
        let lent = if static_binary().is_some() { Vec::new() } else { libraries.to_vec() };
        for mount in lent.iter().chain(mounts) {
            let parts: Vec<&str> = mount.split(':').collect();
            self.mount_point(Path::new(parts[0]), parts[1]);
            bwrap.args([if parts.get(2) == Some(&"ro") { "--ro-bind" } else { "--bind" }, parts[0], parts[1]]);
        }
        for (name, value) in environment {
            bwrap.args(["--setenv", name, value]);
        }
        bwrap.args(self.config["Entrypoint"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()));
        bwrap
    }

    /// An engine makes what is missing for a mount.
    fn mount_point(&self, from: &Path, to: &str) {
        let to = self.root().join(to.trim_start_matches('/'));
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
        } else if !to.exists() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(&to, "").unwrap();
        }
    }
}

/// Lays out what the image holds.
fn lay_out(to: &Path) {
    let binary = static_binary().unwrap_or_else(|| env!("CARGO_BIN_EXE_streamgauge").into());
    output(Command::new(root().join("docker/rootfs")).arg(binary).arg(to));
}

/// What is released, for a run by hand.
fn static_binary() -> Option<PathBuf> {
    std::env::var_os("STATIC_BINARY").map(PathBuf::from)
}

#[test]
fn the_image_holds_the_program_and_nothing_else() {
    let (image, home) = (&*IMAGE, tempfile::tempdir().unwrap());
    assert_eq!(image.config["User"], "65532:65532");
    assert_eq!(image.config["Entrypoint"][0], "/usr/bin/streamgauge");
    let health = json!(["CMD", "/usr/bin/streamgauge", "healthcheck"]);
    assert_eq!(image.config["Healthcheck"]["Test"], health);
    for (label, value) in [("version", "0.1.0"), ("revision", "abc"), ("created", "today"), ("licenses", "Apache-2.0")]
    {
        assert_eq!(image.config["Labels"][format!("org.opencontainers.image.{label}")], value, "{label}");
    }
    let executable = output(Command::new("find").arg(image.root()).args(["-type", "f", "-perm", "/111"]));
    assert_eq!(executable.trim(), image.root().join("usr/bin/streamgauge").to_str().unwrap());
    let state = output(Command::new("stat").args(["-c", "%a %u"]).arg(image.root().join("var/lib/streamgauge")));
    assert_eq!(state.trim(), "700 65532");

    // Time zones of schedules are in it.
    let config = home.path().join("streamgauge.toml");
    let zone = "[[database]]\nname = \"shop\"\nreplica = [{ url = \"s3://backups/shop\" }]\n\
                [database.drill]\nschedule = \"0 3 * * SUN Europe/Berlin\"\n";
    fs::write(&config, zone).unwrap();
    let mounts = [format!("{}:/etc/streamgauge.toml:ro", config.display())];
    output(image.command(&mounts, &[]).args(["config", "check", "--config.file=/etc/streamgauge.toml"]));
}

/// As a release does it with the static binary, before anything is published.
#[test]
fn names_are_found_and_tls_is_spoken_with_nothing_but_what_the_image_holds() {
    let home = tempfile::tempdir().unwrap();
    let image = Image { home: home.path().join("rootfs"), config: json!({ "Entrypoint": ["/usr/bin/streamgauge"] }) };
    lay_out(&image.home);
    image.mount_points();
    let smoke = |more: Option<&str>| {
        let mut mounts = vec![format!("{}:/tmp", image.root().join("tmp").display())];
        mounts.extend(more.map(str::to_owned));
        let started = image.command(&mounts, &[]);
        let mut smoke = command(root().join("packaging/smoke"));
        smoke
            .env("PORT", free_port().to_string())
            .arg(image.root())
            .arg(started.get_program())
            .args(started.get_args());
        smoke
    };
    let said = output(&mut smoke(None));
    assert!(said.contains("streamgauge is healthy"), "{said}");
    // It would notice both.
    for (without, words) in [
        ("/dev/null:/etc/hosts:ro", "failed to lookup"),
        ("/etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro", "UnknownIssuer"),
    ] {
        let refused = smoke(Some(without)).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(words), "{without}: {said}");
    }
}

#[test]
fn the_demo_runs_in_the_image() {
    let (image, home) = (&*IMAGE, tempfile::tempdir().unwrap());
    let address = format!("127.0.0.1:{}", free_port());
    let mut demo = image.command(&[], &[]);
    demo.arg("demo").arg(format!("--web.listen-address={address}"));
    let mut demo = Process::spawn(&mut demo, home.path().join("demo.log"));
    demo.wait_until_listening(&address);
    wait_for("a recovery point", || {
        let report = http::get(&address, "/api/v1/report", &[]).map(|report| report.json());
        report.is_ok_and(|report| report["databases"][0]["replicas"][0]["recovery_point"].is_string())
    });
    // As an engine asks it, which here has to be told the port.
    let health = || {
        let words = image.config["Healthcheck"]["Test"].as_array().unwrap();
        let command = words[2].as_str().unwrap();
        image.command(&[], &[]).arg(command).arg(format!("--url=http://{address}")).status().unwrap().success()
    };
    assert!(health());
    drop(demo);
    assert!(!health());
}

#[test]
fn the_dockerfile_has_no_known_mistake() {
    output(Lab::find().program("ship/bin/hadolint").arg(root().join("docker/Dockerfile")));
    let ignored = crate::text(".dockerignore");
    assert!(ignored.lines().any(|line| line == "*"), "only what is named goes to the engine");
    for kept in ignored.lines().filter_map(|line| line.strip_prefix('!')).filter(|kept| *kept != "dist/rootfs") {
        assert!(root().join(kept).exists(), "{kept}");
    }
}
