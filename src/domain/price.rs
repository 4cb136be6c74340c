//! What reading a replica costs in money, by a price table that is configured and has a date.

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
}

impl Prices {
    /// A directory costs nothing.
    pub const FREE: Self = Self { reads_per_thousand: 0.0, lists_per_thousand: 0.0, received_per_gigabyte: 0.0 };

    /// Amazon S3 Standard, us-east-1, out to the internet, 2026-11: the dearest usual case, so that an estimate is not
    /// exceeded. Inside the bucket's region, and at stores without egress fees, received bytes cost nothing.
    pub const S3: Self = Self { reads_per_thousand: 0.0004, lists_per_thousand: 0.005, received_per_gigabyte: 0.09 };

    /// Dollars for so many reads and listings and so many bytes.
    pub fn dollars(&self, reads: u64, lists: u64, bytes: u64) -> f64 {
        let thousands = |count: u64| count as f64 / 1000.0;
        thousands(reads) * self.reads_per_thousand
            + thousands(lists) * self.lists_per_thousand
            + bytes as f64 / 1e9 * self.received_per_gigabyte
    }
}
