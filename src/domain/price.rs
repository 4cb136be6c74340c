//! Prices: a table that is configured and has a date.

use serde::{Deserialize, Serialize};

/// Prices in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Of 1000 reads (GET).
    pub reads_per_thousand: f64,
    /// Of 1000 listings (LIST).
    pub lists_per_thousand: f64,
    /// Of 10⁹ bytes that leave the store.
    pub received_per_gigabyte: f64,
    /// Of 10⁹ bytes stored for a month; `None`: what that usually costs where they are ([`USUAL`]).
    pub stored_per_gigabyte: Option<f64>,
}

/// Dollars for 10⁹ bytes and a month by the end of the endpoint's host, 2026-11.
const USUAL: &[(&str, f64)] =
    &[("amazonaws.com", AMAZON), ("storage.googleapis.com", 0.020), ("backblazeb2.com", 0.005)];

/// Amazon S3 Standard, which is assumed where the place is not known.
const AMAZON: f64 = 0.023;

/// An average month.
pub const MONTH_SECONDS: f64 = 30.44 * 86_400.0;

impl Prices {
    /// A directory costs nothing.
    pub const FREE: Self = Self {
        reads_per_thousand: 0.0,
        lists_per_thousand: 0.0,
        received_per_gigabyte: 0.0,
        stored_per_gigabyte: Some(0.0),
    };

    /// Amazon S3 Standard, us-east-1, out to the internet, 2026-11: the dearest usual case, so that an estimate is not
    /// exceeded. Inside the bucket's region, and at stores without egress fees, received bytes cost nothing.
    pub const S3: Self = Self {
        reads_per_thousand: 0.0004,
        lists_per_thousand: 0.005,
        received_per_gigabyte: 0.09,
        stored_per_gigabyte: None,
    };

    /// Dollars for so many reads and listings and so many bytes.
    pub fn dollars(&self, reads: u64, lists: u64, bytes: u64) -> f64 {
        let thousands = |count: u64| count as f64 / 1000.0;
        thousands(reads) * self.reads_per_thousand
            + thousands(lists) * self.lists_per_thousand
            + bytes as f64 / 1e9 * self.received_per_gigabyte
    }

    /// Dollars for one upload, which stores price as a listing.
    pub fn upload_dollars(&self) -> f64 {
        self.lists_per_thousand / 1000.0
    }

    /// Dollars for storing so many bytes for a month.
    pub fn storage_dollars(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e9 * self.stored_per_gigabyte.unwrap_or(AMAZON)
    }
}

/// Dollars for 10⁹ bytes and a month, as usual at a server. One's own machine costs nothing by the gigabyte.
pub(super) fn usual_storage(authority: Option<&str>) -> f64 {
    let Some(authority) = authority else { return AMAZON };
    let host = if authority.starts_with('[') { authority } else { authority.split(':').next().unwrap_or_default() };
    let own = !host.contains('.')
        || host.ends_with(".local")
        || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let known = USUAL.iter().find(|(end, _)| host.ends_with(end));
    known.map_or(if own { 0.0 } else { AMAZON }, |(_, price)| *price)
}
