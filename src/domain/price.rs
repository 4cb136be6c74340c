//! What reading and storing replicas costs in money, by a price table that is configured and has a date.

use serde::{Deserialize, Serialize};

use super::target::ReplicaLocation;

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
    pub fn upload_dollars(&self, location: &ReplicaLocation) -> f64 {
        match location {
            ReplicaLocation::Directory(_) => 0.0,
            ReplicaLocation::S3(_) | ReplicaLocation::Unsupported { .. } => self.lists_per_thousand / 1000.0,
        }
    }

    /// Dollars for storing so many bytes for a month.
    pub fn storage_dollars(&self, location: &ReplicaLocation, bytes: u64) -> f64 {
        let price = match location {
            ReplicaLocation::Directory(_) => 0.0,
            ReplicaLocation::S3(s3) => self.stored_per_gigabyte.unwrap_or_else(|| usual(s3.endpoint.as_deref())),
            ReplicaLocation::Unsupported { .. } => self.stored_per_gigabyte.unwrap_or(AMAZON),
        };
        bytes as f64 / 1e9 * price
    }
}

/// What storage usually costs at an endpoint. One's own machine costs nothing by the gigabyte.
fn usual(endpoint: Option<&str>) -> f64 {
    let Some(endpoint) = endpoint else { return AMAZON };
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
    let own = !host.contains('.')
        || host.ends_with(".local")
        || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let known = USUAL.iter().find(|(end, _)| host.ends_with(end));
    known.map_or(if own { 0.0 } else { AMAZON }, |(_, price)| *price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::S3Location;

    #[test]
    fn storage_costs_what_it_usually_does_there_unless_configured() {
        let check = |endpoint: Option<&str>, dollars: f64| {
            let s3 = S3Location { endpoint: endpoint.map(str::to_owned), ..S3Location::default() };
            let location = ReplicaLocation::S3(Box::new(s3));
            let told = Prices::S3.storage_dollars(&location, 2_000_000_000);
            assert!((told - 2.0 * dollars).abs() < 1e-9, "{endpoint:?}: {told}");
            let configured = Prices { stored_per_gigabyte: Some(1.5), ..Prices::S3 };
            assert_eq!(configured.storage_dollars(&location, 2_000_000_000), 3.0);
        };
        check(None, 0.023);
        check(Some("https://s3.eu-west-1.amazonaws.com"), 0.023);
        check(Some("https://s3.us-west-000.backblazeb2.com"), 0.005);
        check(Some("https://storage.googleapis.com"), 0.020);
        check(Some("https://objects.example.org"), 0.023);
        check(Some("http://127.0.0.1:9000"), 0.0);
        check(Some("http://[::1]:9000"), 0.0);
        check(Some("http://minio:9000/"), 0.0);
        assert_eq!(Prices::S3.storage_dollars(&ReplicaLocation::Directory("/r".into()), 1 << 40), 0.0);
    }
}
