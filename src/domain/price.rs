//! Prices: a table with a date, and what is configured in its place.

use serde::{Deserialize, Serialize};

use super::store_kind::StoreKind::{self, Abs, File, Gs, Nats, Oss, S3, Sftp, WebDav};

/// The month in which the table was read.
pub const PRICES_READ: &str = "2026-11";

/// Prices in dollars, and on what terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Of 1000 reads (GET).
    pub reads_per_thousand: f64,
    /// Of 1000 listings (LIST).
    pub lists_per_thousand: f64,
    /// Of 1000 uploads and other requests.
    pub others_per_thousand: f64,
    /// Of 1000 deletions.
    pub deletes_per_thousand: f64,
    /// Of 10⁹ bytes that leave the store, with what the storage class takes for reading them.
    pub received_per_gigabyte: f64,
    /// Of 10⁹ bytes stored for a month.
    pub stored_per_gigabyte: f64,
    #[serde(flatten)]
    pub terms: Terms,
}

/// What counts beside the price of a request or byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// An object that is deleted sooner is billed as if it had been stored for so many days.
    pub minimum_days: f64,
    /// A smaller object is billed as if it had so many bytes.
    pub minimum_bytes: u64,
    /// Requests that are refused (4xx) cost as much as others, those for what is not there (404) among them.
    pub refusals_billed: bool,
    /// Reads of an account that are free each month.
    pub free_reads: u64,
    /// The same of listings and uploads together.
    pub free_others: u64,
}

/// What is usual for one storage class at one kind of store, or at the hosts that end so.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// Who sends the bill.
    pub provider: &'static str,
    pub kind: StoreKind,
    /// Empty: any.
    pub host: &'static str,
    /// As `storage-class` names it; empty where there is only one.
    pub class: &'static str,
    pub prices: Prices,
}

const fn usual(
    kind: StoreKind,
    [provider, host, class]: [&'static str; 3],
    [read, list, other, delete, received, stored]: [f64; 6],
    terms: Terms,
) -> Usual {
    let prices = Prices {
        reads_per_thousand: read,
        lists_per_thousand: list,
        others_per_thousand: other,
        deletes_per_thousand: delete,
        received_per_gigabyte: received,
        stored_per_gigabyte: stored,
        terms,
    };
    Usual { provider, kind, host, class, prices }
}

const ANY: Terms = Terms { minimum_days: 0.0, minimum_bytes: 0, refusals_billed: true, free_reads: 0, free_others: 0 };
/// Google and Alibaba do not bill what they refuse.
const LENIENT: Terms = Terms { refusals_billed: false, ..ANY };

const fn at_least(minimum_days: f64, minimum_bytes: u64, terms: Terms) -> Terms {
    Terms { minimum_days, minimum_bytes, ..terms }
}

const fn free(free_reads: u64, free_others: u64) -> Terms {
    Terms { free_reads, free_others, ..ANY }
}

/// United States, out to the internet, as of [`PRICES_READ`]. The first row of a provider is its usual class. Inside the
/// bucket's region received bytes cost nothing. `docs/COST.md` shows the same.
#[rustfmt::skip]
pub const USUAL: &[Usual] = &[
    //                                                                      GET      LIST    other   delete received stored
    usual(S3, ["Amazon S3", "amazonaws.com", "STANDARD"],                 [0.0004,  0.005,  0.005,  0.0,   0.09,  0.023],   ANY),
    usual(S3, ["Amazon S3", "amazonaws.com", "INTELLIGENT_TIERING"],      [0.0004,  0.005,  0.005,  0.0,   0.09,  0.023],   ANY),
    usual(S3, ["Amazon S3", "amazonaws.com", "STANDARD_IA"],              [0.001,   0.005,  0.01,   0.0,   0.10,  0.0125],  at_least(30.0, 128 << 10, ANY)),
    usual(S3, ["Amazon S3", "amazonaws.com", "ONEZONE_IA"],               [0.001,   0.005,  0.01,   0.0,   0.10,  0.01],    at_least(30.0, 128 << 10, ANY)),
    usual(S3, ["Amazon S3", "amazonaws.com", "GLACIER_IR"],               [0.01,    0.005,  0.02,   0.0,   0.12,  0.004],   at_least(90.0, 128 << 10, ANY)),
    usual(S3, ["Google Cloud Storage", "storage.googleapis.com", "STANDARD"], [0.0004, 0.005, 0.005, 0.0,  0.12,  0.020],   LENIENT),
    usual(S3, ["Google Cloud Storage", "storage.googleapis.com", "NEARLINE"], [0.001, 0.01,  0.01,   0.0,  0.13,  0.010],   at_least(30.0, 0, LENIENT)),
    usual(S3, ["Google Cloud Storage", "storage.googleapis.com", "COLDLINE"], [0.01,  0.02,  0.02,   0.0,  0.14,  0.004],   at_least(90.0, 0, LENIENT)),
    usual(S3, ["Google Cloud Storage", "storage.googleapis.com", "ARCHIVE"],  [0.05,  0.05,  0.05,   0.0,  0.17,  0.0012],  at_least(365.0, 0, LENIENT)),
    usual(S3, ["Backblaze B2", "backblazeb2.com", ""],                    [0.0004,  0.004,  0.0,    0.0,   0.01,  0.005],   free(76_000, 76_000)),
    usual(S3, ["Cloudflare R2", "r2.cloudflarestorage.com", "STANDARD"],  [0.00036, 0.0045, 0.0045, 0.0,   0.0,   0.015],   free(10_000_000, 1_000_000)),
    usual(S3, ["Cloudflare R2", "r2.cloudflarestorage.com", "STANDARD_IA"], [0.0009, 0.009, 0.009,  0.0,   0.01,  0.01],    at_least(30.0, 0, ANY)),
    usual(S3, ["Tigris", "fly.storage.tigris.dev", "STANDARD"],           [0.0005,  0.005,  0.005,  0.0,   0.0,   0.02],    ANY),
    usual(S3, ["Tigris", "t3.storage.dev", "STANDARD"],                   [0.0005,  0.005,  0.005,  0.0,   0.0,   0.02],    ANY),
    usual(S3, ["Wasabi", "wasabisys.com", ""],                            [0.0,     0.0,    0.0,    0.0,   0.0,   0.00799], at_least(90.0, 4 << 10, ANY)),
    // A flat fee, of which this is what goes beyond it.
    usual(S3, ["DigitalOcean Spaces", "digitaloceanspaces.com", ""],      [0.0,     0.0,    0.0,    0.0,   0.01,  0.02],    ANY),
    usual(S3, ["Hetzner", "your-objectstorage.com", ""],                  [0.0,     0.0,    0.0,    0.0,   0.0012, 0.006],  ANY),
    usual(S3, ["Scaleway", "scw.cloud", ""],                              [0.0,     0.0,    0.0,    0.0,   0.011, 0.016],   ANY),
    usual(Gs, ["Google Cloud Storage", "", "STANDARD"],                   [0.0004,  0.005,  0.005,  0.0,   0.12,  0.020],   LENIENT),
    usual(Gs, ["Google Cloud Storage", "", "NEARLINE"],                   [0.001,   0.01,   0.01,   0.0,   0.13,  0.010],   at_least(30.0, 0, LENIENT)),
    usual(Gs, ["Google Cloud Storage", "", "COLDLINE"],                   [0.01,    0.02,   0.02,   0.0,   0.14,  0.004],   at_least(90.0, 0, LENIENT)),
    usual(Gs, ["Google Cloud Storage", "", "ARCHIVE"],                    [0.05,    0.05,   0.05,   0.0,   0.17,  0.0012],  at_least(365.0, 0, LENIENT)),
    usual(Abs, ["Azure", "", "HOT"],                                      [0.0004,  0.005,  0.005,  0.0,   0.087, 0.018],   ANY),
    usual(Abs, ["Azure", "", "COOL"],                                     [0.001,   0.005,  0.01,   0.0,   0.097, 0.010],   at_least(30.0, 0, ANY)),
    usual(Abs, ["Azure", "", "COLD"],                                     [0.01,    0.005,  0.018,  0.0,   0.117, 0.0045],  at_least(90.0, 0, ANY)),
    // By region; this is not exceeded.
    usual(Oss, ["Alibaba OSS", "", "STANDARD"],                           [0.0004,  0.005,  0.005,  0.005, 0.12,  0.023],   LENIENT),
    usual(Oss, ["Alibaba OSS", "", "IA"],                                 [0.001,   0.005,  0.01,   0.01,  0.13,  0.015],   at_least(30.0, 64 << 10, LENIENT)),
    usual(File, ["directory", "", ""],                                    [0.0; 6], ANY),
    usual(Sftp, ["SFTP", "", ""],                                         [0.0; 6], ANY),
    usual(WebDav, ["WebDAV", "", ""],                                     [0.0; 6], ANY),
    usual(Nats, ["NATS", "", ""],                                         [0.0; 6], ANY),
];

/// An average month.
pub const MONTH_SECONDS: f64 = 30.44 * 86_400.0;

impl Prices {
    /// A directory costs nothing.
    pub const FREE: Self = usual(File, [""; 3], [0.0; 6], ANY).prices;

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
    /// In place of what `lists_per_thousand` says of them.
    pub uploads_per_thousand: Option<f64>,
    pub deletes_per_thousand: Option<f64>,
    pub minimum_days: Option<f64>,
    pub minimum_bytes: Option<u64>,
}

/// The prices of a place, and where they come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quote {
    /// Who sends the bill; `None`: nobody who is known, so that the prices are a guess unless they are configured.
    pub provider: Option<&'static str>,
    /// The storage class, where there are several; `None`: one that is not in the table.
    pub class: Option<&'static str>,
    pub prices: Prices,
    /// What it costs there can be said.
    pub known: bool,
}

impl ConfiguredPrices {
    /// The prices of a kind of store, at a host where the kind has more than one.
    pub(super) fn at(&self, kind: StoreKind, authority: Option<&str>) -> Prices {
        self.quote(kind, authority, None).prices
    }

    /// As [`Self::at`], for a storage class.
    pub fn quote(&self, kind: StoreKind, authority: Option<&str>, class: Option<&str>) -> Quote {
        let host = authority.map_or("", host_of);
        let row = USUAL.iter().find(|row| row.kind == kind && is_of(row, host));
        // The dearest usual case, so that an estimate is not exceeded.
        let first = USUAL.iter().find(|row| row.kind == kind);
        let Some(guess) = row.or(first) else {
            return Quote { provider: None, class: None, prices: Prices::FREE, known: false };
        };
        if guess.prices == Prices::FREE {
            return Quote { provider: Some(guess.provider), class: Some(""), prices: Prices::FREE, known: true };
        }
        let named = |usual: &&Usual| {
            usual.kind == kind && usual.provider == guess.provider && class.is_some_and(|class| is_class(usual, class))
        };
        let of_class = if class.is_none() { Some(guess) } else { USUAL.iter().find(named) };
        let usual = if is_own(host) { Prices::FREE } else { of_class.unwrap_or(guess).prices };
        let prices = Prices {
            reads_per_thousand: self.reads_per_thousand.unwrap_or(usual.reads_per_thousand),
            lists_per_thousand: self.lists_per_thousand.unwrap_or(usual.lists_per_thousand),
            others_per_thousand: (self.uploads_per_thousand.or(self.lists_per_thousand))
                .unwrap_or(usual.others_per_thousand),
            deletes_per_thousand: self.deletes_per_thousand.unwrap_or(usual.deletes_per_thousand),
            received_per_gigabyte: self.received_per_gigabyte.unwrap_or(usual.received_per_gigabyte),
            stored_per_gigabyte: self.stored_per_gigabyte.unwrap_or(usual.stored_per_gigabyte),
            terms: Terms {
                minimum_days: self.minimum_days.unwrap_or(usual.terms.minimum_days),
                minimum_bytes: self.minimum_bytes.unwrap_or(usual.terms.minimum_bytes),
                ..usual.terms
            },
        };
        let provider = row.filter(|_| !is_own(host)).map(|row| row.provider);
        let known = *self != Self::default() || (provider.is_some() && of_class.is_some());
        Quote { provider, class: of_class.map(|row| row.class), prices, known }
    }
}

/// What a kind of store usually costs at a host; `None` for a kind that is not in the table.
pub fn usual_prices(kind: StoreKind, host: &str) -> Option<Prices> {
    let fits = USUAL.iter().find(|row| row.kind == kind && is_of(row, host));
    fits.or_else(|| USUAL.iter().find(|row| row.kind == kind)).map(|row| row.prices)
}

/// The usual class of a provider, by a word of its name, such as `wasabi` or `b2`; `None` where none or several have it.
pub fn provider(word: &str) -> Option<&'static Usual> {
    let has = |row: &&Usual| row.provider.split(' ').any(|one| one.eq_ignore_ascii_case(word));
    let first = USUAL.iter().find(has)?;
    USUAL.iter().filter(has).all(|row| row.provider == first.provider).then_some(first)
}

/// Whether a bill has requests that a host refuses.
pub fn bills_refusals(kind: StoreKind, authority: Option<&str>) -> bool {
    usual_prices(kind, authority.map_or("", host_of)).is_none_or(|prices| prices.terms.refusals_billed)
}

/// Without a host, it is the provider's own.
fn is_of(row: &Usual, host: &str) -> bool {
    row.host.is_empty() || host.is_empty() || is_at(host, row.host)
}

/// What is usual needs no name of its own.
fn is_class(row: &Usual, class: &str) -> bool {
    row.class.eq_ignore_ascii_case(class) || (row.class.is_empty() && class.eq_ignore_ascii_case("STANDARD"))
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
    fn classes_and_unknown_hosts() {
        let none = ConfiguredPrices::default();
        let told = |kind, authority, class| {
            let Quote { provider, class, prices, known } = none.quote(kind, authority, class);
            (provider.unwrap_or("?"), class.unwrap_or("?"), prices.terms.minimum_days, known)
        };
        assert_eq!(told(S3, None, None), ("Amazon S3", "STANDARD", 0.0, true));
        assert_eq!(told(S3, None, Some("standard_ia")), ("Amazon S3", "STANDARD_IA", 30.0, true));
        assert_eq!(told(S3, None, Some("DEEP_ARCHIVE")), ("Amazon S3", "?", 0.0, false));
        assert_eq!(told(S3, Some("s3.wasabisys.com"), Some("STANDARD")), ("Wasabi", "", 90.0, true));
        assert_eq!(told(Gs, None, Some("COLDLINE")), ("Google Cloud Storage", "COLDLINE", 90.0, true));
        assert_eq!(told(S3, Some("objects.example.org"), None), ("?", "STANDARD", 0.0, false));
        assert_eq!(told(S3, Some("minio.local:9000"), None), ("?", "STANDARD", 0.0, false));
        assert_eq!(told(File, None, None), ("directory", "", 0.0, true));
        let given = ConfiguredPrices { minimum_days: Some(7.0), uploads_per_thousand: Some(0.1), ..none };
        let quote = given.quote(S3, Some("minio.local:9000"), None);
        assert!(quote.known && quote.prices.terms.minimum_days == 7.0 && quote.prices.others_per_thousand == 0.1);
        let hosts = ["wasabi", "B2", "amazon", "storage", "nobody"].map(|word| provider(word).map(|row| row.host));
        let found = ["wasabisys.com", "backblazeb2.com", "amazonaws.com"].map(Some);
        assert_eq!(hosts, [found[0], found[1], found[2], Some("storage.googleapis.com"), None]);
        assert!(bills_refusals(S3, None) && !bills_refusals(Gs, None) && !bills_refusals(Oss, Some("x.y")));
    }

    /// The first class of each provider is the one that others are dearer or cheaper than, and no class is there twice.
    #[test]
    fn the_table_has_each_class_once() {
        let mut seen: Vec<_> = USUAL.iter().map(|row| (row.kind, row.host, row.class)).collect();
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
        assert!(USUAL.iter().all(|row| row.prices.terms.minimum_bytes == 0 || row.prices.terms.minimum_days > 0.0));
    }

    #[test]
    fn each_place_has_its_own_prices_unless_configured() {
        let none = ConfiguredPrices::default();
        let check = |kind: StoreKind, authority: Option<&str>, stored: f64, listed: f64| {
            let prices = none.at(kind, authority);
            assert_eq!((prices.stored_per_gigabyte, prices.lists_per_thousand), (stored, listed), "{authority:?}");
            let configured = ConfiguredPrices { stored_per_gigabyte: Some(1.5), ..none }.at(kind, authority);
            assert_eq!(configured, Prices { stored_per_gigabyte: 1.5, ..prices }, "{authority:?}");
        };
        check(S3, None, 0.023, 0.005);
        check(S3, Some("s3.eu-west-1.amazonaws.com"), 0.023, 0.005);
        check(S3, Some("s3.us-west-000.backblazeb2.com"), 0.005, 0.004);
        check(S3, Some("account.r2.cloudflarestorage.com"), 0.015, 0.0045);
        check(S3, Some("storage.googleapis.com"), 0.020, 0.005);
        check(S3, Some("objects.example.org"), 0.023, 0.005);
        check(S3, Some("notwasabisys.com"), 0.023, 0.005);
        check(S3, Some("s3.wasabisys.com"), 0.00799, 0.0);
        check(S3, Some("127.0.0.1:9000"), 0.0, 0.0);
        check(S3, Some("[::1]:9000"), 0.0, 0.0);
        check(S3, Some("minio:9000"), 0.0, 0.0);
        check(Gs, None, 0.020, 0.005);
        check(Abs, Some("account.blob.core.windows.net"), 0.018, 0.005);
        check(Abs, Some("127.0.0.1:10000"), 0.0, 0.0);
        let configured = ConfiguredPrices { received_per_gigabyte: Some(9.0), ..none };
        for free in [File, Sftp, WebDav, Nats] {
            assert_eq!(configured.at(free, Some("host.example.org")), Prices::FREE, "{free:?}");
        }
    }
}
