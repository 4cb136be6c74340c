//! The sizing guide: from which size and which write rate on SQLite wants more of its machine, or something else.

use serde::Serialize;

/// The bands of one measure: where the next one begins, and what is advised from there on.
type Bands = [(f64, &'static str)];

/// Of the size of the database in bytes.
const SIZE: &Bands = &[
    (1e9, "an SSD and at least 4 GB of memory"),
    (10e9, "to consider PostgreSQL"),
    (50e9, "PostgreSQL or a distributed database"),
];

/// Of write transactions in a second.
const WRITES: &Bands = &[(100.0, "WAL mode and a tuned busy_timeout"), (1000.0, "PostgreSQL or the like")];

/// How far ahead growth is looked at, in seconds.
pub const AHEAD_SECONDS: f64 = 30.0 * 86_400.0;

/// The numbers that the sizing guide judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sizing {
    /// The size in 30 days if the database goes on growing as it does; `None` while that is not known.
    pub projected_size_bytes: Option<f64>,
    /// Write transactions a second, sustained; `None` while that is not known.
    pub write_transactions_per_second: Option<f64>,
}

/// Where a number stands in its bands: how many it has passed, and what is advised there.
fn band(number: f64, bands: &'static Bands) -> (usize, Option<&'static str>) {
    let passed = bands.iter().take_while(|(bound, _)| number >= *bound).count();
    (passed, passed.checked_sub(1).and_then(|index| bands.get(index)).map(|(_, advice)| *advice))
}

impl Sizing {
    /// The highest band of what is known: 0 is the first, in which nothing is asked for.
    pub fn tier(&self, size_bytes: u64) -> usize {
        let size = self.projected_size_bytes.unwrap_or_default().max(size_bytes as f64);
        let writes = self.write_transactions_per_second.unwrap_or_default();
        band(size, SIZE).0.max(band(writes, WRITES).0)
    }

    /// The guide's advice for it, with the number that calls for it; empty in the first band.
    pub fn advice(&self, size_bytes: u64) -> Vec<String> {
        let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        let mut advice = Vec::new();
        let now = size_bytes as f64;
        let ((passed, at_present), projected) = (band(now, SIZE), self.projected_size_bytes.unwrap_or_default());
        if let Some(present) = at_present {
            advice.push(format!("{}: the sizing guide advises {present}", gigabytes(now)));
        }
        if let (later, Some(then)) = band(projected, SIZE)
            && later > passed
        {
            advice.push(format!("{} in 30 days at its current growth: the guide advises {then}", gigabytes(projected)));
        }
        if let Some(writes) = self.write_transactions_per_second
            && let (_, Some(then)) = band(writes, WRITES)
        {
            advice.push(format!("{writes:.0} write transactions a second, sustained: the guide advises {then}"));
        }
        advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: f64, projected: Option<f64>, writes: Option<f64>, expected: (usize, &str)) {
        let sizing = Sizing { projected_size_bytes: projected, write_transactions_per_second: writes };
        let size = size as u64;
        assert_eq!((sizing.tier(size), sizing.advice(size).join("; ").as_str()), expected);
    }

    #[test]
    fn the_guide() {
        check(0.9e9, None, None, (0, ""));
        check(0.9e9, Some(0.95e9), Some(99.0), (0, ""));
        check(1e9, None, None, (1, "1.0 GB: the sizing guide advises an SSD and at least 4 GB of memory"));
        check(12e9, None, None, (2, "12.0 GB: the sizing guide advises to consider PostgreSQL"));
        check(60e9, None, None, (3, "60.0 GB: the sizing guide advises PostgreSQL or a distributed database"));
        let advice = "150 write transactions a second, sustained: the guide advises WAL mode and a tuned busy_timeout";
        check(1e6, None, Some(150.0), (1, advice));
    }

    #[test]
    fn a_band_that_growth_reaches_in_a_month_is_said_beforehand() {
        let advice = "8.0 GB: the sizing guide advises an SSD and at least 4 GB of memory; 11.0 GB in 30 days at its \
                      current growth: the guide advises to consider PostgreSQL";
        check(8e9, Some(11e9), None, (2, advice));
        check(0.5e9, Some(0.9e9), None, (0, ""));
    }
}
