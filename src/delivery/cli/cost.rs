//! `streamgauge cost`: what replication costs in a month, and what it would cost with other settings.

mod change;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Args;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use tracing::level_filters::LevelFilter;

use self::change::{Change, read_change};
use super::args::{Format, SourceArgs};
use super::runtime::block_on;
use super::sources::{Picked, Sources, stores};
use super::{logging, output};
use crate::delivery::render::json::pretty;
use crate::domain::cost::{EarlyDeletion, Estimate, KEYS, Part, Settings, Stock, Usage, estimate};
use crate::domain::price::{ConfiguredPrices, PRICES_READ, Prices};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::verdict::Word;
use crate::infrastructure::clock::SystemClock;
use crate::usecase::ports::{Clock, Stores};
use crate::usecase::restorable::Counted;
use crate::usecase::stock::stock;

pub static AFTER_HELP: LazyLock<String> = LazyLock::new(|| {
    let keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    format!(
        "\
One listing of each replica shows what is stored, how much Litestream writes, and how long objects last. Together with \
the configured intervals, this gives the requests of a month: Litestream's, and those of the agent that watches the \
replica (for a URL, only Litestream's). Some providers bill an object that is deleted early as if it had been kept for \
months: that is early deletion. docs/COST.md explains each line and lists the prices; set your own in [drill.price].

--what-if also shows the same month with another setting. Settings are named as in litestream.yml, or with their \
section as in streamgauge.toml: {}. `store` takes a word of a provider's name, such as wasabi, r2, b2 or amazon.

Exit code: 0, or 3 if something is unknown: a replica could not be listed, or the prices of its store are not known.

JSON: {{prices_read, replicas [{{database (null for a URL), replica, url, listed_at, measured_seconds, objects, \
requests, request_dollars, reason (why it is unknown), notes, now, then}}], now, then}}. A month (now, and then with \
--what-if) of a replica has provider, storage_class, prices (null where unknown), parts [{{part, lists, reads, \
uploads, deletions, received_bytes, stored_bytes, dollars}}], dollars_per_month and early_deletion {{objects_per_day, \
lifetime_seconds, billed_days, dollars_per_month}}; that of all replicas has dollars_per_month, null if it is not \
known of one.

Examples:
  streamgauge cost
  streamgauge cost shop --what-if monitor-interval=10s
  streamgauge cost --what-if store=r2 --what-if retention=168h --format json
  streamgauge cost s3://backups/shop",
        keys.join(", ")
    )
});

#[derive(Args, Debug)]
pub struct CostArgs {
    /// Configured databases by name or path, or URLs of replicas [default: all]
    #[arg(value_name = "DATABASE|URL")]
    pub places: Vec<String>,

    /// Only the replica of this name, if a database has several
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,

    /// Also show what it would cost with this setting [repeatable]
    #[arg(long, value_name = "KEY=VALUE", value_parser = read_change)]
    pub what_if: Vec<Change>,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    #[command(flatten)]
    pub sources: SourceArgs,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    prices_read: &'static str,
    replicas: Vec<Costed>,
    now: Sum,
    then: Option<Sum>,
}

/// All replicas together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sum {
    dollars_per_month: Option<f64>,
}

/// One replica.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Costed {
    database: Option<String>,
    replica: String,
    url: String,
    listed_at: Timestamp,
    /// How long was measured what comes; `None` where nothing is there, or nothing is known.
    measured_seconds: Option<f64>,
    objects: Option<u64>,
    /// Of this command, and what they cost.
    requests: u64,
    request_dollars: Option<f64>,
    /// Why it is unknown.
    reason: Option<Reason>,
    notes: Vec<String>,
    now: Option<Month>,
    then: Option<Month>,
}

/// A month of a replica.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Month {
    provider: Option<&'static str>,
    storage_class: Option<&'static str>,
    prices: Option<Prices>,
    parts: Vec<Row>,
    dollars_per_month: Option<f64>,
    early_deletion: Option<Early>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Row {
    part: Part,
    #[serde(flatten)]
    usage: Usage,
    dollars: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Early {
    #[serde(flatten)]
    objects: EarlyDeletion,
    dollars_per_month: Option<f64>,
}

impl Month {
    fn new(
        estimate: &Estimate,
        provider: Option<&'static str>,
        class: Option<&'static str>,
        prices: Option<Prices>,
    ) -> Self {
        let dollars = |usage: &Usage| prices.map(|prices| usage.dollars(&prices));
        let row = |(part, usage): &(Part, Usage)| Row { part: *part, usage: *usage, dollars: dollars(usage) };
        Self {
            provider,
            storage_class: class,
            prices,
            parts: estimate.lines.iter().map(row).collect(),
            dollars_per_month: prices.map(|prices| estimate.dollars(&prices)),
            early_deletion: estimate
                .early
                .map(|objects| Early { objects, dollars_per_month: dollars(&estimate.of(Part::EarlyDeletion)) }),
        }
    }
}

/// Prints the estimate.
///
/// # Errors
///
/// Problems of the command line and of the configuration. What kept a replica from being listed is in the output.
pub fn main(args: &CostArgs) -> Result<ExitCode, Reason> {
    logging::init_from(LevelFilter::ERROR);
    let (settings, picked) = Sources::new(&args.sources).pick(&args.places, args.replica.as_deref())?;
    if picked.is_empty() {
        let reason = Reason::new(ReasonKind::NotFound, "none of these replicas is configured");
        let command = args.sources.command("config check");
        return Err(reason.with_hint(format!("`{command}` lists databases and their replicas")));
    }
    let (stores, clock) = (stores(&settings), SystemClock::start());
    let looks = picked.iter().map(|picked| look(stores.as_ref(), clock.now().wall(), picked));
    let concurrency = settings.pace.concurrency.max(1);
    let looked = block_on(async { futures_util::stream::iter(looks).buffered(concurrency).collect::<Vec<_>>().await })?;
    let (mut replicas, stocks): (Vec<Costed>, Vec<Option<Stock>>) = looked.into_iter().unzip();
    let at_rest = settings::at_rest(&picked, &stocks);
    for (((costed, stock), picked), at_rest) in replicas.iter_mut().zip(&stocks).zip(&picked).zip(at_rest) {
        let Some(stock) = stock else { continue };
        let is = settings::of(picked, &settings, stock, at_rest, costed.listed_at);
        let prices = picked.target.as_ref().map_or(settings.costs.prices, |target| target.drill.prices);
        fill(costed, stock, &is, &prices, &args.what_if);
        costed.notes.extend(at_rest.map(resting));
    }
    let answer = Answer::of(replicas, !args.what_if.is_empty());
    match args.format {
        Format::Table => output::print(&table::table(&answer, output::width()))?,
        Format::Json => output::print(&pretty(&answer)?)?,
    }
    let known = [Some(answer.now), answer.then].iter().flatten().all(|sum| sum.dollars_per_month.is_some());
    Ok(ExitCode::from(if known { Word::Ok } else { Word::Unknown }.exit_code()))
}

impl Answer {
    fn of(replicas: Vec<Costed>, asked: bool) -> Self {
        let sum = |month: fn(&Costed) -> Option<&Month>| {
            let each = replicas.iter().map(|replica| month(replica)?.dollars_per_month);
            Sum { dollars_per_month: each.sum() }
        };
        let (now, then) = (sum(|one| one.now.as_ref()), asked.then(|| sum(|one| one.then.as_ref())));
        Self { prices_read: PRICES_READ, replicas, now, then }
    }
}

/// Lists a replica: what is there, or why that is unknown.
async fn look(
    stores: &crate::infrastructure::store::Stores,
    now: Timestamp,
    Picked { target, replica }: &Picked,
) -> (Costed, Option<Stock>) {
    let mut costed = Costed {
        database: target.as_ref().map(|target| target.name.to_string()),
        replica: replica.name.clone(),
        url: replica.location.url(),
        listed_at: now,
        ..Costed::default()
    };
    let store = match stores.open(&replica.location) {
        Ok(store) => store,
        Err(reason) => return (Costed { reason: Some(reason), ..costed }, None),
    };
    let counted = Counted::new(store.as_ref());
    let found = stock(&counted, now).await;
    costed.requests = counted.requests();
    let nothing = || Reason::new(ReasonKind::NotFound, "nothing is there yet");
    let stock = found.and_then(|found| found.ok_or_else(nothing)).map_err(|reason| costed.reason = Some(reason)).ok();
    (costed, stock)
}

/// Says what the replica costs, and what it would cost with the changes.
fn fill(costed: &mut Costed, stock: &Stock, is: &Settings, prices: &ConfiguredPrices, changes: &[Change]) {
    (costed.measured_seconds, costed.objects) = (Some(stock.measured_seconds()), Some(stock.objects()));
    let mut notes = Vec::new();
    let mut month = |then: &Settings| {
        let quote = prices.quote(then.kind, then.authority.as_deref(), then.class.as_deref());
        let known = quote.known.then_some(quote.prices);
        if known.is_none() {
            notes.push(unknown(then));
        }
        let terms = quote.prices.terms;
        notes.extend(known.and_then(|_| free(quote.provider?, terms.free_reads, terms.free_others)));
        Month::new(&estimate(stock, is, then, &terms), quote.provider, quote.class, known)
    };
    let now = month(is);
    costed.request_dollars = now.prices.map(|prices| prices.dollars(0, costed.requests, 0));
    let mut then = is.clone();
    change::apply(changes, &mut then);
    costed.then = (!changes.is_empty()).then(|| month(&then));
    costed.now = Some(now);
    if !stock.is_v03() && then.sync != is.sync {
        let why = "sync-interval changes nothing here: Litestream 0.5 writes an object for each monitor-interval";
        notes.push(why.to_owned());
    }
    notes.dedup();
    costed.notes = notes;
}

/// Why so few looks are made.
fn resting(count: usize) -> String {
    let others = match count - 1 {
        0 => String::new(),
        1 => ", in turn with another one".to_owned(),
        others => format!(", in turn with {others} others"),
    };
    format!("nothing was committed lately: it is at rest, and looked at more seldom{others}")
}

/// That nobody knows the prices of a place.
fn unknown(settings: &Settings) -> String {
    let place = settings.authority.as_deref().unwrap_or(settings.kind.as_str());
    let class = settings.class.as_deref().map(|class| format!(", storage class {class}")).unwrap_or_default();
    format!("no prices known for {place}{class}; give them under [drill.price]")
}

/// What an account need not pay.
fn free(provider: &str, reads: u64, others: u64) -> Option<String> {
    let requests = |count: u64| table::grouped(count as f64);
    (reads > 0).then(|| {
        let (reads, others) = (requests(reads), requests(others));
        format!(
            "{provider} gives each account {reads} reads and {others} other requests a month, which are not subtracted"
        )
    })
}
