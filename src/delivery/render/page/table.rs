//! Tables whose rows become cards on a narrow screen, and stay tables to those who do not see them.

use maud::{Markup, html};

use crate::delivery::render::html::LINE;

/// A table of these rows, each of which has a [`cell`] for each heading.
pub(super) fn table(headings: &[&str], rows: impl Iterator<Item = Markup>) -> Markup {
    let heads = headings.iter().map(|heading| html! { th scope="col" role="columnheader" { (heading) } });
    with_heads(&html! { @for head in heads { (head) } }, rows)
}

/// As [`table`], with cells of the head that hold more than a word.
pub(super) fn with_heads(heads: &Markup, rows: impl Iterator<Item = Markup>) -> Markup {
    html! {
        table.cards role="table" {
            thead role="rowgroup" { tr role="row" { (heads) } }
            tbody role="rowgroup" { (LINE) @for row in rows { tr role="row" { (row) } (LINE) } }
        }
        (LINE)
    }
}

/// A cell below the heading `label`, which is said again where the row is a card. `class` is for what is special to it.
pub(super) fn cell(label: &str, class: &str, content: &Markup) -> Markup {
    html! { td role="cell" class=[(!class.is_empty()).then_some(class)] data-label=(label) { (content) } }
}
