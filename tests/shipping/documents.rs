//! Manuals and completions, which packages hold: generated from the command line and from streamgauge.toml.

use std::collections::BTreeSet;
use std::fs;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use streamgauge::delivery::cli::Cli;
use streamgauge::delivery::cli::version::VERSION;

use crate::{generated, root, text};

/// The command line without the revision, which differs from build to build.
fn command() -> Command {
    Cli::command().version(VERSION).disable_help_subcommand(true)
}

/// Writes or compares a folder of generated files, in which nothing else may be.
fn folder(path: &str, files: Vec<(String, String)>) {
    let wanted: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
    for (name, content) in files {
        generated(&format!("{path}/{name}"), &content);
    }
    let found = fs::read_dir(root().join(path)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = found.collect();
    assert_eq!(found, wanted, "{path} holds what belongs to no command");
}

#[test]
fn every_command_has_a_manual() {
    let made = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(command(), made.path()).unwrap();
    let mut pages: Vec<(String, String)> = fs::read_dir(made.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    assert!(pages.len() > 15, "{}", pages.len());
    pages.push(("streamgauge.toml.5".to_owned(), configuration()));
    folder("packaging/man", pages);
}

#[test]
fn completions_are_those_of_the_command_line() {
    let made = tempfile::tempdir().unwrap();
    let shells = [(Shell::Bash, "streamgauge.bash"), (Shell::Zsh, "_streamgauge"), (Shell::Fish, "streamgauge.fish")];
    let files = shells.map(|(shell, name)| {
        let path = clap_complete::generate_to(shell, &mut Cli::command(), "streamgauge", made.path()).unwrap();
        (name.to_owned(), fs::read_to_string(path).unwrap())
    });
    folder("packaging/completions", files.into());
}

/// streamgauge.toml as a manual: its comments are paragraphs, its keys stand by themselves.
fn configuration() -> String {
    let escape = |line: &str| line.replace('\\', "\\e").replace('-', "\\-");
    let mut page = format!(".TH streamgauge.toml 5 \"\" \"streamgauge {VERSION}\"\n.SH NAME\n");
    page += "streamgauge.toml \\- the configuration of streamgauge\n.SH DESCRIPTION\n";
    let mut literal = false;
    // The first line is the title.
    for line in text("streamgauge.toml").lines().skip(1) {
        let prose = line == "#" || line.starts_with("# ");
        let section = line.trim_start_matches('#').starts_with('[') && !line.starts_with("# ");
        let key = !prose && !section && !line.is_empty();
        if literal != key {
            page += if key { ".PP\n.nf\n" } else { ".fi\n.PP\n" };
            literal = key;
        }
        let line = match line.trim_start_matches("# ") {
            "" | "#" => ".PP".to_owned(),
            name if section => format!(".SS \"{}\"", escape(name.trim_start_matches('#')).replace('"', "\\(dq")),
            words if prose => format!("\\&{}", escape(words)),
            key => format!("\\fB\\&{}\\fR", escape(key)),
        };
        page += &line;
        page.push('\n');
    }
    page + ".SH SEE ALSO\n\\fBstreamgauge\\fR(1), \\fBstreamgauge\\-config\\-check\\fR(1)\n"
}
