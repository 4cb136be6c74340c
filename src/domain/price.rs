//! Prices: a table with a date, and what is configured in its place.

use serde::{Deserialize, Serialize};

/// Prices in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Of 1000 reads (GET).
    pub reads_per_thousand: f64,
    /// Of 1000 listings (LIST).
    pub lists_per_thousand: f64,
    /// Of 1000 uploads and other requests.
    pub others_per_thousand: f64,
    /// Of 10⁹ bytes that leave the store.
    pub received_per_gigabyte: f64,
    /// Of 10⁹ bytes stored for a month.
    pub stored_per_gigabyte: f64,
}

/// What is usual at one kind of store, or at the hosts that end so.
struct Usual {
    kind: &'static str,
    /// Empty: any.
    host: &'static str,
    prices: Prices,
}

const fn usual(kind: &'static str, host: &'static str, [read, list, other, received, stored]: [f64; 5]) -> Usual {
    let prices = Prices {
        reads_per_thousand: read,
        lists_per_thousand: list,
        others_per_thousand: other,
        received_per_gigabyte: received,
        stored_per_gigabyte: stored,
    };
    Usual { kind, host, prices }
}

/// Standard classes in the United States, out to the internet, 2026-11: the first row of a kind whose host fits. A kind
/// whose last row is free is free whatever is configured. Inside the bucket's region received bytes cost nothing.
#[rustfmt::skip]
const USUAL: &[Usual] = &[
    usual("file", "", [0.0; 5]),
    //                                          GET      LIST    other   received  stored
    usual("s3", "amazonaws.com",               [0.0004,  0.005,  0.005,  0.09,     0.023]),
    usual("s3", "storage.googleapis.com",      [0.0004,  0.005,  0.005,  0.12,     0.020]),
    usual("s3", "backblazeb2.com",             [0.0004,  0.004,  0.0,    0.01,     0.005]),
    usual("s3", "r2.cloudflarestorage.com",    [0.00036, 0.0045, 0.0045, 0.0,      0.015]),
    usual("s3", "fly.storage.tigris.dev",      [0.0005,  0.005,  0.005,  0.0,      0.02]),
    usual("s3", "t3.storage.dev",              [0.0005,  0.005,  0.005,  0.0,      0.02]),
    usual("s3", "wasabisys.com",               [0.0,     0.0,    0.0,    0.0,      0.00799]),
    // A flat fee, of which this is what goes beyond it.
    usual("s3", "digitaloceanspaces.com",      [0.0,     0.0,    0.0,    0.01,     0.02]),
    usual("s3", "your-objectstorage.com",      [0.0,     0.0,    0.0,    0.0012,   0.006]),
    usual("s3", "scw.cloud",                   [0.0,     0.0,    0.0,    0.011,    0.016]),
    // The dearest usual case, so that an estimate is not exceeded.
    usual("s3", "",                            [0.0004,  0.005,  0.005,  0.09,     0.023]),
    usual("gs", "",                            [0.0004,  0.005,  0.005,  0.12,     0.020]),
    usual("abs", "",                           [0.0004,  0.005,  0.005,  0.087,    0.018]),
    // By region; this is not exceeded.
    usual("oss", "",                           [0.0004,  0.005,  0.005,  0.12,     0.023]),
    usual("sftp", "", [0.0; 5]),
    usual("webdav", "", [0.0; 5]),
    usual("nats", "", [0.0; 5]),
];

/// An average month.
pub const MONTH_SECONDS: f64 = 30.44 * 86_400.0;

impl Prices {
    /// A directory costs nothing.
    pub const FREE: Self = usual("", "", [0.0; 5]).prices;

    /// Dollars for so many reads and listings and so many bytes.
    pub fn dollars(&self, reads: u64, lists: u64, bytes: u64) -> f64 {
        let thousands = |count: u64| count as f64 / 1000.0;
        thousands(reads) * self.reads_per_thousand
            + thousands(lists) * self.lists_per_thousand
            + bytes as f64 / 1e9 * self.received_per_gigabyte
    }

    /// Dollars for one upload, or any other request that is neither a read nor a listing.
    pub fn upload_dollars(&self) -> f64 {
        self.others_per_thousand / 1000.0
    }

    /// Dollars for storing so many bytes for a month.
    pub fn storage_dollars(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e9 * self.stored_per_gigabyte
    }
}

/// The prices that the configuration gives for stores that cost something; `None`: what is usual there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfiguredPrices {
    pub reads_per_thousand: Option<f64>,
    /// Of uploads and other requests as well.
    pub lists_per_thousand: Option<f64>,
    pub received_per_gigabyte: Option<f64>,
    pub stored_per_gigabyte: Option<f64>,
}

impl ConfiguredPrices {
    /// The prices of a kind of store, at a host where the kind has more than one.
    pub(super) fn at(&self, kind: &str, authority: Option<&str>) -> Prices {
        if usual_prices(kind, "").is_some_and(|prices| prices == Prices::FREE) {
            return Prices::FREE;
        }
        let host = authority.map_or("", host_of);
        let usual = usual_prices(kind, host).filter(|_| !is_own(host)).unwrap_or(Prices::FREE);
        Prices {
            reads_per_thousand: self.reads_per_thousand.unwrap_or(usual.reads_per_thousand),
            lists_per_thousand: self.lists_per_thousand.unwrap_or(usual.lists_per_thousand),
            others_per_thousand: self.lists_per_thousand.unwrap_or(usual.others_per_thousand),
            received_per_gigabyte: self.received_per_gigabyte.unwrap_or(usual.received_per_gigabyte),
            stored_per_gigabyte: self.stored_per_gigabyte.unwrap_or(usual.stored_per_gigabyte),
        }
    }
}

/// What a kind of store usually costs at a host; `None` for a kind that is not in the table.
pub fn usual_prices(kind: &str, host: &str) -> Option<Prices> {
    let row = USUAL.iter().find(|row| row.kind == kind && (row.host.is_empty() || is_at(host, row.host)));
    row.map(|row| row.prices)
}

fn is_at(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') { authority } else { authority.split(':').next().unwrap_or_default() }
}

/// One's own machine, which sends no bill.
fn is_own(host: &str) -> bool {
    !host.is_empty()
        && (!host.contains('.')
            || host.ends_with(".local")
            || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_prices_unless_configured() {
        let none = ConfiguredPrices::default();
        let check = |kind: &str, authority: Option<&str>, stored: f64, listed: f64| {
            let prices = none.at(kind, authority);
            assert_eq!((prices.stored_per_gigabyte, prices.lists_per_thousand), (stored, listed), "{authority:?}");
            let configured = ConfiguredPrices { stored_per_gigabyte: Some(1.5), ..none }.at(kind, authority);
            assert_eq!(configured, Prices { stored_per_gigabyte: 1.5, ..prices }, "{authority:?}");
        };
        check("s3", None, 0.023, 0.005);
        check("s3", Some("s3.eu-west-1.amazonaws.com"), 0.023, 0.005);
        check("s3", Some("s3.us-west-000.backblazeb2.com"), 0.005, 0.004);
        check("s3", Some("account.r2.cloudflarestorage.com"), 0.015, 0.0045);
        check("s3", Some("storage.googleapis.com"), 0.020, 0.005);
        check("s3", Some("objects.example.org"), 0.023, 0.005);
        check("s3", Some("notwasabisys.com"), 0.023, 0.005);
        check("s3", Some("s3.wasabisys.com"), 0.00799, 0.0);
        check("s3", Some("127.0.0.1:9000"), 0.0, 0.0);
        check("s3", Some("[::1]:9000"), 0.0, 0.0);
        check("s3", Some("minio:9000"), 0.0, 0.0);
        check("gs", None, 0.020, 0.005);
        check("abs", Some("account.blob.core.windows.net"), 0.018, 0.005);
        check("abs", Some("127.0.0.1:10000"), 0.0, 0.0);
        let configured = ConfiguredPrices { received_per_gigabyte: Some(9.0), ..none };
        for free in ["file", "sftp", "webdav", "nats"] {
            assert_eq!(configured.at(free, Some("host.example.org")), Prices::FREE, "{free}");
        }
    }
}
