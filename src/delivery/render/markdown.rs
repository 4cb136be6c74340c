//! As much of Markdown as the runbook has: paragraphs, headings, lists, code, and words that are bold, emphasised or code.

use maud::{Markup, PreEscaped, Render, html};

/// A text of several blocks, below a heading of level 1.
pub(super) fn blocks(text: &str) -> Markup {
    let mut lines = text.lines().peekable();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let code: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            // Reachable by keyboard, since it may have to be scrolled.
            blocks.push(html! { pre tabindex="0" { code { (code.join("\n")) } } });
        } else if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            blocks.push(html! { h2 { (inline(heading)) } });
        } else if item(line).is_some() {
            let ordered = !line.starts_with('-');
            let mut items = vec![item(line).unwrap_or_default().to_owned()];
            while let Some(line) = lines.next_if(|line| item(line).is_some() || line.starts_with("  ")) {
                match (item(line), items.last_mut()) {
                    (None, Some(last)) => last.extend([" ", line.trim()]),
                    (new, _) => items.push(new.unwrap_or_default().to_owned()),
                }
            }
            let items = html! { @for item in &items { li { (inline(item)) } } };
            blocks.push(if ordered {
                html! { ol { (items) } }
            } else {
                html! { ul { (items) } }
            });
        } else if !line.trim().is_empty() {
            let mut paragraph = line.to_owned();
            let goes_on = |line: &&str| !line.trim().is_empty() && !line.starts_with("```") && item(line).is_none();
            while let Some(line) = lines.next_if(goes_on) {
                paragraph.extend([" ", line]);
            }
            blocks.push(html! { p { (inline(&paragraph)) } });
        }
    }
    html! { @for block in &blocks { (block) "\n" } }
}

/// The text of an item of a list that begins in this line.
fn item(line: &str) -> Option<&str> {
    line.strip_prefix("- ").or_else(|| {
        let (number, text) = line.split_once(". ")?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
    })
}

/// A text without breaks.
pub(super) fn inline(text: &str) -> Markup {
    const KINDS: [(&str, &str); 3] = [("`", "code"), ("**", "strong"), ("*", "em")];
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*']) {
        out.push_str(&rest[..at].render().into_string());
        rest = &rest[at..];
        let kind = KINDS.iter().find_map(|(mark, element)| {
            let (inside, after) = rest.strip_prefix(mark)?.split_once(mark)?;
            (!inside.is_empty()).then_some((*element, inside, after))
        });
        let Some((element, inside, after)) = kind else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
            continue;
        };
        let inside = if element == "code" { inside.render() } else { inline(inside) };
        out.push_str(&format!("<{element}>{}</{element}>", inside.into_string()));
        rest = after;
    }
    out.push_str(&rest.render().into_string());
    PreEscaped(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::render::runbook;

    #[test]
    fn what_the_runbook_has_becomes_html() {
        let text = "**Meaning.** It is `a < b`\nand *late*.\n\n```\nls <x>\n\n  y\n```\n1. One `x`\n   goes on.\n2. Two\n\n- a\n- b * c";
        let expected = "<p><strong>Meaning.</strong> It is <code>a &lt; b</code> and <em>late</em>.</p>\n\
                        <pre tabindex=\"0\"><code>ls &lt;x&gt;\n\n  y</code></pre>\n\
                        <ol><li>One <code>x</code> goes on.</li><li>Two</li></ol>\n\
                        <ul><li>a</li><li>b * c</li></ul>\n";
        assert_eq!(blocks(text).into_string(), expected);
    }

    /// What is read: no marks of Markdown.
    fn words(text: &str) -> Vec<String> {
        let plain = text.replace("**", "").replace(['`', '*'], "");
        let lines = plain.lines().map(|line| {
            let line = line.trim_start();
            let item = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok()).map(|(_, item)| item);
            item.or_else(|| line.strip_prefix("- ")).unwrap_or(line).to_owned()
        });
        lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn no_mark_is_left_in_the_runbook_and_no_word_is_lost() {
        for (name, text) in runbook::sections() {
            let html = blocks(text).into_string();
            let mut outside = String::new();
            for part in html.split("<code>") {
                outside.push_str(part.split_once("</code>").map_or(part, |(_, after)| after));
            }
            assert!(!outside.contains("**") && !outside.contains('`'), "{name}: {outside}");
            let shown = words(
                &html
                    .split('<')
                    .filter_map(|part| part.split_once('>'))
                    .map(|(_, text)| text)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
            let unescaped = |word: &str| {
                word.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
            };
            let shown: Vec<String> = shown.iter().map(|word| unescaped(word)).collect();
            assert_eq!(shown.concat().replace('*', ""), words(text).concat(), "{name}");
        }
    }

    #[test]
    fn whatever_is_written_is_inert() {
        for text in ["`", "**", "*", "***", "`*`", "é`ü", "<script>", "*<b>*", "`<b>`", "** **"] {
            let html = inline(text).into_string();
            assert!(!html.contains("<b>") && !html.contains("<script"), "{html}");
        }
    }
}
