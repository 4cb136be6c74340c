//! What the table of databases shows: search, state, order and page, as they stand in the address.

use std::cmp::Ordering;

use super::overview::{Line, Overview};
use super::words::encoded;
use crate::delivery::asked::{Asked, Problem};
use crate::domain::assessment::ReplicaReport;
use crate::domain::human;
use crate::domain::limits::PAGE_ROWS_MAX;
use crate::domain::verdict::{Status, Word};

/// An order of the rows: the word in the address, the heading of its column, and what is compared. What is unknown comes
/// with the worst.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) word: &'static str,
    pub(super) heading: &'static str,
    key: fn(&Line<'_>) -> f64,
}

/// The columns, each of which can be sorted by. Rows of the same key stay in the order of their names.
pub(super) static ORDERS: [Order; 6] = [
    Order { word: "state", heading: "State", key: |line| -f64::from(line.word as u8) },
    Order { word: "name", heading: "Database", key: |_| 0.0 },
    Order {
        word: "safe",
        heading: "Safe until",
        key: |line| seconds(line.block.replica.and_then(ReplicaReport::safe_until)),
    },
    Order {
        word: "lost",
        heading: "Could be lost",
        key: |line| -line.block.replica.and_then(ReplicaReport::at_risk).map_or(f64::MAX, |bytes| bytes as f64),
    },
    Order {
        word: "window",
        heading: "Restorable",
        key: |line| {
            let since = line.block.replica.and_then(|replica| replica.timeline.as_ref()?.since);
            since.map_or(-f64::MAX, |since| -seconds(Some(since)))
        },
    },
    Order {
        word: "drill",
        heading: "Last drill",
        key: |line| seconds(line.block.replica.and_then(|replica| replica.drill.as_ref()?.history.last_success_at)),
    },
];

fn seconds(at: Option<jiff::Timestamp>) -> f64 {
    at.map_or(-f64::MAX, |at| at.as_second() as f64)
}

const PARAMETERS: &[&str] = &["q", "state", "sort", "page"];

#[derive(Clone)]
pub(super) struct Query {
    pub(super) search: String,
    pub(super) state: Option<Word>,
    pub(super) order: &'static Order,
    pub(super) reversed: bool,
    /// From 1.
    pub(super) page: usize,
}

/// The rows of one page.
pub(super) struct Rows<'a> {
    pub(super) lines: Vec<Line<'a>>,
    /// Which of all that were found the first one is, from 0.
    pub(super) first: usize,
    /// How many were found, of any state and of the one that is shown.
    pub(super) found: [usize; Word::ALL.len()],
    pub(super) shown: usize,
    pub(super) page: usize,
    pub(super) pages: usize,
}

impl Query {
    /// # Errors
    ///
    /// Names the parameter that is none of those, or is written in another way.
    pub(super) fn of(asked: &Asked) -> Result<Self, Problem> {
        asked.refuse_others(PARAMETERS)?;
        let words: Vec<_> = Word::ALL.iter().map(|word| (word.as_str(), *word)).collect();
        let reverse: Vec<_> = ORDERS.iter().map(|order| format!("-{}", order.word)).collect();
        let orders = ORDERS.iter().map(|order| (order.word, (order, false)));
        let reverse = ORDERS.iter().zip(&reverse).map(|(order, word)| (word.as_str(), (order, true)));
        let (order, reversed) =
            asked.one_of("sort", &orders.chain(reverse).collect::<Vec<_>>())?.unwrap_or((&ORDERS[0], false));
        let page = asked.parsed::<usize>("page", "a number")?.unwrap_or(1);
        let search = asked.get("q").unwrap_or_default().trim().to_owned();
        Ok(Self { search, state: asked.one_of("state", &words)?, order, reversed, page })
    }

    /// The rows that it asks for. Only these are ever rendered.
    pub(super) fn rows<'a>(&self, overview: &Overview<'a>) -> Rows<'a> {
        let search = self.search.to_lowercase();
        let mut found = [0; Word::ALL.len()];
        let mut keys = Vec::new();
        for (index, line) in overview.lines.iter().enumerate().filter(|(_, line)| matches(line, &search)) {
            found[line.word as usize] += 1;
            if self.state.is_none_or(|state| state == line.word) {
                keys.push(((self.order.key)(line), index));
            }
        }
        let order = |one: &(f64, usize), other: &(f64, usize)| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1));
        let order = |one: &_, other: &_| if self.reversed { order(other, one) } else { order(one, other) };
        let pages = keys.len().div_ceil(PAGE_ROWS_MAX).max(1);
        let page = self.page.clamp(1, pages);
        let (first, shown) = ((page - 1) * PAGE_ROWS_MAX, keys.len());
        let last = shown.min(first + PAGE_ROWS_MAX);
        let lines = window(&mut keys, first, last, order).iter();
        let lines = lines.filter_map(|(_, index)| overview.lines.get(*index).copied()).collect();
        Rows { lines, first, found, shown, page, pages }
    }

    /// The address of the same table with this page.
    pub(super) fn at(&self, page: usize) -> String {
        let mut address = "/?".to_owned();
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            let and = if address.ends_with('?') { "" } else { "&" };
            address.push_str(&format!("{and}{name}={value}"));
        };
        if !self.search.is_empty() {
            add("q", &encoded(&self.search));
        }
        if let Some(state) = self.state {
            add("state", &state.as_str());
        }
        if let Some(sort) = self.sort() {
            add("sort", &sort);
        }
        if page > 1 {
            add("page", &page);
        }
        address.trim_end_matches('?').to_owned() + "#databases"
    }

    /// The order in a word, where it is not the usual one.
    pub(super) fn sort(&self) -> Option<String> {
        let usual = !self.reversed && self.order.word == ORDERS[0].word;
        (!usual).then(|| format!("{}{}", if self.reversed { "-" } else { "" }, self.order.word))
    }
}

/// The items from `first` until before `last` as if all were sorted.
fn window<T>(items: &mut [T], first: usize, last: usize, order: impl Fn(&T, &T) -> Ordering) -> &mut [T] {
    if last < items.len() {
        items.select_nth_unstable_by(last, &order);
    }
    let items = &mut items[..last];
    if first > 0 && first < items.len() {
        items.select_nth_unstable_by(first, &order);
    }
    let items = &mut items[first.min(last)..];
    items.sort_unstable_by(&order);
    items
}

/// Whether a line has the text, in lower case, in its names or places, or in the name of a check that does not pass.
fn matches(line: &Line<'_>, search: &str) -> bool {
    if search.is_empty() {
        return true;
    }
    let block = &line.block;
    let has = |text: &str| text.to_lowercase().contains(search);
    has(&block.database.name)
        || block.replica.is_some_and(|replica| has(&replica.name) || has(&replica.url))
        || block.database.local.as_ref().is_some_and(|local| has(&local.path))
        || block.verdicts().any(|verdict| verdict.status != Status::Pass && has(verdict.check))
}

impl Rows<'_> {
    /// `1 to 100 of 214 rows`.
    pub(super) fn said(&self) -> String {
        match self.lines.len() {
            0 => "nothing found".to_owned(),
            count if count == self.shown => human::counted(count, "row"),
            count => format!("{} to {} of {}", self.first + 1, self.first + count, human::counted(self.shown, "row")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_what_is_sorted_is_what_sorting_all_would_show() {
        let items: Vec<u32> = (0..1000_u32).map(|number| number.wrapping_mul(2_654_435_761) >> 7).collect();
        let mut sorted = items.clone();
        sorted.sort_unstable();
        for (first, last) in [(0, 100), (100, 200), (900, 1000), (0, 1000), (1000, 1000), (0, 0)] {
            assert_eq!(window(&mut items.clone(), first, last, Ord::cmp), &sorted[first..last], "{first} to {last}");
        }
    }

    #[test]
    fn the_address_says_what_is_shown_and_nothing_else() {
        let address = |query: &str| Query::of(&Asked::new("", query)).map(|query| query.at(1));
        assert_eq!(address("").as_deref(), Ok("/#databases"));
        assert_eq!(
            address("q=a%26b&state=unknown&sort=-lost&page=3").as_deref(),
            Ok("/?q=a%26b&state=unknown&sort=-lost#databases")
        );
        assert_eq!(Query::of(&Asked::default()).expect("none").at(2), "/?page=2#databases");
        for wrong in ["stat=ok", "state=good", "sort=size", "page=one"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
