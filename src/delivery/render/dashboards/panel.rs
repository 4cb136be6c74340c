//! What a dashboard is made of: sections of panels, each a question with its unit and its queries.

use super::promql::how_many_reported;

/// A dashboard.
#[derive(Debug)]
pub(super) struct Dashboard {
    /// Its address, which never changes: links and provisioning stand on it.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    /// What it answers.
    pub(super) description: &'static str,
    /// Which databases can be selected.
    pub(super) databases: Databases,
    pub(super) sections: Vec<Section>,
}

/// Which databases a dashboard lets one select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Databases {
    /// It is not about databases.
    None,
    /// The first one, until others are selected.
    Some,
    All,
}

/// Panels under a heading; the first ones have none, because nothing may push them down.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// A section; `title` may be empty.
pub(super) fn section(title: &'static str, panels: impl Into<Vec<Panel>>) -> Section {
    Section { title, panels: panels.into() }
}

/// One picture of the answers to one question.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) unit: Unit,
    pub(super) kind: Kind,
    pub(super) scale: Scale,
    /// Of 24.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) queries: Vec<Query>,
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stat,
    /// A row for each combination of these labels and those of the scrape. The first column sorts.
    Table(&'static [&'static str]),
    Lines,
    Stacked,
    /// States over time, each a bar.
    States,
    Heatmap,
}

/// One query, which is a line, a column or a value.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// The legend, or the heading of a column. Nothing is shown of a column without one: its labels say everything.
    pub(super) name: &'static str,
    pub(super) expr: String,
    /// Where it is not that of the panel.
    pub(super) unit: Option<Unit>,
    /// How a column, or a line by its nature, is coloured.
    pub(super) scale: Scale,
    pub(super) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Value,
    /// What bounds the values beside it.
    Objective,
    /// Read on the axis on the right.
    Right,
}

/// Units, by what Grafana calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Seconds,
    /// Milliseconds since 1970, shown as an instant.
    Instant,
    Bytes,
    BytesPerSecond,
    RequestsPerSecond,
    Ratio,
    Dollars,
}

impl Unit {
    #[cfg(test)]
    pub(super) const ALL: [Self; 8] = [
        Self::Count,
        Self::Seconds,
        Self::Instant,
        Self::Bytes,
        Self::BytesPerSecond,
        Self::RequestsPerSecond,
        Self::Ratio,
        Self::Dollars,
    ];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Count => "none",
            Self::Seconds => "s",
            Self::Instant => "dateTimeAsIso",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "Bps",
            Self::RequestsPerSecond => "reqps",
            Self::Ratio => "percentunit",
            Self::Dollars => "currencyUSD",
        }
    }
}

/// What a value means, which is its colour. Unknown is grey on each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nothing by itself.
    Plain,
    /// A ratio to an objective, which is reached at 1.
    OfObjective,
    /// A count of what must not be.
    Trouble,
    /// A count of what has to be looked into.
    Doubt,
    /// A share of time, of which 0.999 is wanted.
    Availability,
    /// 1 is good, 0 is bad.
    Good,
    /// 1 is bad, 0 is good.
    Bad,
    /// 1 is yes, 0 is no, and neither is better.
    YesNo,
    /// Of a check: 0 passes, 1 is unknown, 2 fails.
    Status,
}

/// A picture without queries.
fn panel(kind: Kind, width: u32, title: &'static str, description: &'static str, unit: Unit) -> Panel {
    let height = match kind {
        Kind::Stat => 4,
        Kind::Table(_) => 9,
        Kind::Lines | Kind::Stacked | Kind::States | Kind::Heatmap => 8,
    };
    Panel { title, description, unit, kind, scale: Scale::Plain, width, height, queries: Vec::new() }
}

/// One number, as it is now.
pub(super) fn stat(title: &'static str, description: &'static str, unit: Unit, scale: Scale, expr: String) -> Panel {
    Panel { scale, ..panel(Kind::Stat, 4, title, description, unit) }.ask("", expr)
}

/// How many agents or what they watch are in a trouble.
pub(super) fn troubles(title: &'static str, description: &'static str, trouble: &str) -> Panel {
    stat(title, description, Unit::Count, Scale::Trouble, how_many_reported(trouble))
}

/// Numbers as they are now: a row for each combination of these labels, columns for queries.
pub(super) fn table(title: &'static str, description: &'static str, labels: &'static [&'static str]) -> Panel {
    panel(Kind::Table(labels), 24, title, description, Unit::Count)
}

/// Numbers over time.
pub(super) fn lines(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Lines, 12, title, description, unit)
}

/// Parts of a sum over time.
pub(super) fn stacked(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Stacked, 12, title, description, unit)
}

/// States over time; where a bar ends, nothing is known.
pub(super) fn states(title: &'static str, description: &'static str, scale: Scale) -> Panel {
    Panel { scale, ..panel(Kind::States, 12, title, description, Unit::Count) }
}

/// How often something took how long, over time.
pub(super) fn heatmap(title: &'static str, description: &'static str, buckets: &str) -> Panel {
    let expr = format!("sum by (le) (rate({buckets}[$__rate_interval]))");
    panel(Kind::Heatmap, 12, title, description, Unit::Seconds).ask("{{le}}", expr)
}

impl Panel {
    fn with(mut self, query: Query) -> Self {
        self.queries.push(query);
        self
    }

    /// A line or a value.
    pub(super) fn ask(self, name: &'static str, expr: String) -> Self {
        self.with(Query { name, expr, unit: None, scale: Scale::Plain, role: Role::Value })
    }

    /// A line that means something bad, or something to be looked into, and has the colour of that: of `Trouble` or `Doubt`.
    /// Several are shades of it.
    pub(super) fn judged(self, name: &'static str, scale: Scale, expr: String) -> Self {
        self.with(Query { name, expr, unit: None, scale, role: Role::Value })
    }

    /// A dashed line that bounds the others.
    pub(super) fn objective(self, name: &'static str, expr: String) -> Self {
        self.with(Query { name, expr, unit: None, scale: Scale::Plain, role: Role::Objective })
    }

    /// A line with an axis of its own.
    pub(super) fn right(self, name: &'static str, unit: Unit, expr: String) -> Self {
        self.with(Query { name, expr, unit: Some(unit), scale: Scale::Plain, role: Role::Right })
    }

    /// A column of a table.
    pub(super) fn column(self, name: &'static str, unit: Unit, scale: Scale, expr: String) -> Self {
        let Kind::Table(labels) = self.kind else { return self };
        let expr = format!("{} ({expr})", largest_by(labels));
        self.with(Query { name, expr, unit: Some(unit), scale, role: Role::Value })
    }

    /// A table of what labels say.
    pub(super) fn of_labels(self, expr: String) -> Self {
        self.column("", Unit::Count, Scale::Plain, expr)
    }

    /// Only the rows that a query has, which stands for its own table.
    pub(super) fn within(mut self, rows: &str) -> Self {
        self.queries.iter_mut().for_each(|query| query.expr = format!("{} and {rows}", query.expr));
        self
    }

    /// Gives its values the names of their labels.
    pub(super) fn named(mut self, legend: &'static str) -> Self {
        self.queries.iter_mut().for_each(|query| query.name = legend);
        self
    }

    pub(super) fn width(self, width: u32) -> Self {
        Self { width, ..self }
    }

    pub(super) fn height(self, height: u32) -> Self {
        Self { height, ..self }
    }
}

/// What Grafana calls a query of a panel.
pub(super) fn letter(index: usize) -> String {
    char::from(b'A'.saturating_add(index as u8)).to_string()
}

/// Of the series of each row of a table, the largest.
pub(super) fn largest_by(labels: &[&str]) -> String {
    format!("max by ({})", ["job", "instance"].iter().chain(labels).copied().collect::<Vec<_>>().join(", "))
}
