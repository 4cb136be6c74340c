//! The runbook, docs/RUNBOOK.md, as it is in the program: one section for each check.

use super::terminal::painted;

/// The whole of it, in Markdown.
pub const RUNBOOK: &str = include_str!("../../../docs/RUNBOOK.md");

/// What stands before the first section.
pub fn introduction() -> &'static str {
    let before = RUNBOOK.split("\n## ").next().unwrap_or_default();
    before.split_once('\n').map_or("", |(_, text)| text.trim())
}

/// Headings and texts, in the order of the runbook.
pub fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    RUNBOOK.split("\n## ").skip(1).filter_map(|section| {
        let (name, text) = section.split_once('\n')?;
        Some((name, text.trim()))
    })
}

/// The section of one check.
pub fn section(check: &str) -> Option<&'static str> {
    sections().find(|(name, _)| *name == check).map(|(_, text)| text)
}

/// A section as a person reads it on a terminal: commands are indented, and what is bold is so where there are colours.
pub fn on_terminal(section: &str, colour: bool) -> String {
    let mut out = String::with_capacity(section.len());
    let mut code = false;
    for line in section.lines() {
        if line.starts_with("```") {
            code = !code;
            continue;
        }
        if code {
            out.extend(["    ", line, "\n"]);
            continue;
        }
        for (index, part) in line.split("**").enumerate() {
            // Every other part stands between asterisks.
            out.push_str(&painted(colour && index % 2 == 1, "1", part));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_indented_and_bold_is_bold() {
        let section = "**Meaning.** It is `late`.\n\n```\nstreamgauge check\n```\nThen **wait**.";
        assert_eq!(on_terminal(section, false), "Meaning. It is `late`.\n\n    streamgauge check\nThen wait.\n");
        assert!(on_terminal(section, true).starts_with("\x1b[1mMeaning.\x1b[0m It"));
    }
}
