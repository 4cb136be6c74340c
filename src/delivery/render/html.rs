//! HTML documents: what stands in them is escaped by the macro that writes it.

use maud::{Markup, PreEscaped, html};

use crate::domain::printable::is_unseen;

/// Ends a line, for those who read or search the source of a document.
pub(super) const LINE: PreEscaped<&str> = PreEscaped("\n");

/// A document. `head` is what it takes besides its title.
pub(super) fn document(title: &str, head: &Markup, body: &Markup) -> String {
    let document = html! {
        (PreEscaped("<!doctype html>")) (LINE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                (head)
            }
            (LINE)
            body { (body) }
        }
        (LINE)
    };
    let text = document.into_string();
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' => written.push_str("&#39;"),
            // HTML has no way to write most of them, and others turn a line around.
            unseen if is_unseen(unseen) && unseen != '\n' => written.extend(unseen.escape_unicode()),
            other => written.push(other),
        }
    }
    written
}
