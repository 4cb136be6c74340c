//! The runbook, docs/RUNBOOK.md, as it is in the program: one section for each check.

use std::sync::LazyLock;

use maud::html;

use super::html::{LINE, document};

/// The whole of it, in Markdown.
pub const RUNBOOK: &str = include_str!("../../../docs/RUNBOOK.md");

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

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a;background:#fff}\
pre{font:inherit;white-space:pre-wrap;overflow-wrap:anywhere}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}}";

/// All sections as a page; the anchor of each is the name of its check.
pub static PAGE: LazyLock<String> = LazyLock::new(|| {
    let body = html! {
        @for (name, text) in sections() {
            h2 id=(name) { (name) }
            pre { (on_terminal(text, false)) }
            (LINE)
        }
    };
    document("streamgauge runbook", STYLE, &body)
});

/// A section as a person reads it on a terminal: commands are indented, and what is bold is so where there are colours.
pub fn on_terminal(section: &str, colour: bool) -> String {
    let (bold, plain) = if colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
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
            if index > 0 {
                out.push_str(if index % 2 == 1 { bold } else { plain });
            }
            out.push_str(part);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::catalogue;

    #[test]
    fn the_page_has_an_anchor_for_each_check() {
        for check in catalogue() {
            assert_eq!(PAGE.matches(&format!("<h2 id=\"{0}\">{0}</h2>", check.name)).count(), 1, "{}", check.name);
        }
    }

    #[test]
    fn commands_are_indented_and_bold_is_bold() {
        let section = "**Meaning.** It is `late`.\n\n```\nstreamgauge check\n```\nThen **wait**.";
        assert_eq!(on_terminal(section, false), "Meaning. It is `late`.\n\n    streamgauge check\nThen wait.\n");
        assert!(on_terminal(section, true).starts_with("\x1b[1mMeaning.\x1b[0m It"));
    }
}
