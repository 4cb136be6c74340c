//! A report with its renderings, each made when it is first asked for and at most once.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::{Buf, Bytes};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use http::StatusCode;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::held::Held;
use super::json;
use super::metrics::{Exposition, Format};
use super::pieces::Pieces;
use crate::delivery::asked::{Made, Problem};
use crate::domain::limits::{
    ANSWERS_MADE_MAX, ANSWERS_OLD_BYTES_MAX, INLINE_RENDER_TARGETS_MAX, PLAIN_KEPT_BYTES_MAX, REPORT_AGE_MAX,
    REPORTS_UNASKED_MAX,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;
use crate::infrastructure::clock;
use crate::usecase::ports::Publisher;

/// The forms in which a whole report is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    Metrics(Format),
    Json,
}

/// A report that does not change any more.
#[derive(Debug)]
pub struct Published {
    report: Arc<Report>,
    /// How many others came before.
    number: u64,
    tag: String,
    renderings: Arc<Renderings>,
    workshop: Arc<Workshop>,
    /// Rendering takes so long that it must not keep other connections waiting.
    large: bool,
    /// By the clock that no one sets.
    came: Instant,
}

/// What was made of a report.
#[derive(Debug, Default)]
struct Renderings {
    exposition: OnceCell<Arc<Exposition>>,
    /// The plain text in each format, where it is small.
    plain: [OnceCell<Bytes>; 2],
    json: OnceCell<Json>,
}

/// The whole report as JSON, compressed: it is a fifteenth of it, and whoever reads slowly keeps it.
#[derive(Clone, Debug)]
struct Json {
    packed: Bytes,
    /// Bytes of the plain text.
    length: u64,
}

/// The plain text is handed out in pieces of this size, but for the last one.
const FRAME_BYTES: usize = 64 << 10;

impl Json {
    fn pieces(self, gzip: bool) -> Pieces {
        if gzip {
            return self.packed.into();
        }
        let mut plain = GzDecoder::new(self.packed.reader());
        let frames = std::iter::from_fn(move || {
            let mut frame = Vec::with_capacity(FRAME_BYTES);
            // What was compressed here can be read.
            plain.by_ref().take(FRAME_BYTES as u64).read_to_end(&mut frame).ok()?;
            (!frame.is_empty()).then(|| frame.into())
        });
        Pieces::new(self.length, frames)
    }
}

/// What the renderings of all reports share.
#[derive(Debug)]
struct Workshop {
    last: Arc<Mutex<Last>>,
    held: Held,
    /// For answers that are made for one request each.
    places: Semaphore,
}

impl Default for Workshop {
    fn default() -> Self {
        Self { last: Arc::default(), held: Held::default(), places: Semaphore::new(ANSWERS_MADE_MAX) }
    }
}

/// The newest exposition that was made, of which the next one is made; it is held by whoever makes one, one at a time.
#[derive(Debug, Default)]
struct Last {
    exposition: Option<Arc<Exposition>>,
    /// Of its report.
    number: u64,
}

impl Published {
    /// A report that `number` others came before.
    pub fn new(report: Report, number: u64) -> Self {
        Self::after(Arc::default(), report, number)
    }

    fn after(workshop: Arc<Workshop>, report: Report, number: u64) -> Self {
        let some = report.assessment.databases.iter().take(INLINE_RENDER_TARGETS_MAX);
        let replicas: usize = some.map(|database| database.replicas.len()).sum();
        let large = report.assessment.databases.len().saturating_add(replicas) > INLINE_RENDER_TARGETS_MAX;
        let came = clock::timer();
        // Weak, because compressed and plain bytes go by the same tag.
        let tag = format!("W/\"{:x}-{number:x}\"", report.assessment.agent.started_at.as_microsecond());
        Self { report: Arc::new(report), number, tag, renderings: Arc::default(), workshop, large, came }
    }

    /// What tells it apart from all others, as an entity tag: when the agent started, and how many reports came before.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    pub fn report(&self) -> &Arc<Report> {
        &self.report
    }

    /// The bytes of one representation. Whoever asks while they are being made waits for them; they are made to the end
    /// although nobody waits any more.
    ///
    /// # Errors
    ///
    /// When the runtime is going down while a large report is rendered.
    pub async fn body(&self, representation: Representation, gzip: bool) -> Result<Pieces, Reason> {
        match representation {
            Representation::Metrics(format) => {
                let made = self.exposition().await?.pieces(format, gzip);
                if gzip || made.left() > PLAIN_KEPT_BYTES_MAX {
                    return Ok(made);
                }
                // Who does not accept gzip costs no more than who does.
                let plain = &self.renderings.plain[format as usize];
                let keep = async || self.workshop.held.count(made.collect::<Vec<_>>().concat());
                Ok(plain.get_or_init(keep).await.clone().into())
            }
            Representation::Json => Ok(self.json().await?.pieces(gzip)),
        }
    }

    /// Bytes of what was made of it for all who ask.
    fn rendered_bytes(&self) -> usize {
        let Renderings { exposition, plain, json } = &*self.renderings;
        let plain = plain.iter().filter_map(OnceCell::get).map(Bytes::len).sum::<usize>();
        let json = json.get().map_or(0, |json| json.packed.len());
        exposition.get().map_or(0, |made| made.packed_bytes()) + plain + json
    }

    async fn exposition(&self) -> Result<Arc<Exposition>, Reason> {
        if let Some(made) = self.renderings.exposition.get() {
            return Ok(Arc::clone(made));
        }
        let (renderings, report, workshop) =
            (Arc::clone(&self.renderings), Arc::clone(&self.report), Arc::clone(&self.workshop));
        let (large, number) = (self.large, self.number);
        let make = async move {
            let mut last = Arc::clone(&workshop.last).lock_owned().await;
            let making = move || {
                let made = Arc::new(Exposition::after(last.exposition.as_deref(), &report, &workshop.held));
                *last = Last { exposition: Some(Arc::clone(&made)), number };
                made
            };
            away(large, making).await
        };
        to_the_end(async move { renderings.exposition.get_or_try_init(|| make).await.cloned() }).await
    }

    async fn json(&self) -> Result<Json, Reason> {
        if let Some(made) = self.renderings.json.get() {
            return Ok(made.clone());
        }
        let (renderings, report, workshop) =
            (Arc::clone(&self.renderings), Arc::clone(&self.report), Arc::clone(&self.workshop));
        let large = self.large;
        let make = async move {
            let _one_at_a_time = workshop.last.lock().await;
            let held = workshop.held.clone();
            let making = move || {
                let plain = json::json(&report)?;
                Ok(Json { packed: held.count(compress(plain.as_bytes())?), length: plain.len() as u64 })
            };
            renderings.json.get_or_try_init(|| away(large, making).map(Result::flatten)).await.cloned()
        };
        to_the_end(make).await
    }

    /// What is made of the report for one request, compressed or not, with its `Link`.
    ///
    /// # Errors
    ///
    /// Those of `make`, and when the runtime is going down.
    pub async fn made(
        &self,
        gzip: bool,
        make: impl FnOnce(&Report) -> Result<Made, Problem> + Send + 'static,
    ) -> Result<(Bytes, Option<String>), Problem> {
        let (report, held) = (Arc::clone(&self.report), self.workshop.held.clone());
        // Nobody closes it.
        let _place = self.workshop.places.acquire().await;
        let failed = |reason: Reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, reason.to_string());
        let making = move || {
            let Made { body, link } = make(&report)?;
            let body = if gzip { compress(&body).map_err(failed)? } else { body };
            Ok((held.count(body), link))
        };
        away(self.large, making).await.map_err(failed)?
    }
}

fn ended(error: &JoinError) -> Reason {
    Reason::new(ReasonKind::Failed, format!("render report: {error}"))
}

/// Does the work here when it is short, and where blocking is allowed when it is not.
async fn away<T: Send + 'static>(large: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reason> {
    if !large {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| ended(&error))
}

/// Does the work also when whoever waits for it goes away, so that the next one finds it done.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Reason>> + Send + 'static,
) -> Result<T, Reason> {
    tokio::spawn(work).await.map_err(|error| ended(&error))?
}

/// At level 1: higher ones cost seven times as much for a body that is a third smaller.
fn compress(plain: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

/// Where the agent puts each report and the faces take the newest.
#[derive(Clone, Debug, Default)]
pub struct ReportCell(Arc<Cell>);

#[derive(Debug)]
struct Cell {
    begun: Instant,
    newest: ArcSwapOption<Published>,
    published: AtomicU64,
    workshop: Arc<Workshop>,
}

impl Default for Cell {
    fn default() -> Self {
        let (newest, published, workshop) = Default::default();
        Self { begun: clock::timer(), newest, published, workshop }
    }
}

impl Publisher for ReportCell {
    fn publish(&self, report: Report) {
        let Cell { newest, published, workshop, .. } = &*self.0;
        let number = published.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut last) = workshop.last.try_lock() {
            // Nobody scrapes any more: what was made for the last one is not kept for ever.
            let unasked = number.saturating_sub(last.number) > REPORTS_UNASKED_MAX;
            // What most databases were holds as much memory as what they are.
            last.exposition.take_if(|made| unasked || made.is_outdated_by(&report));
        }
        newest.store(Some(Arc::new(Published::after(Arc::clone(workshop), report, number))));
    }
}

impl ReportCell {
    /// The newest report; `None` until there is one.
    pub fn current(&self) -> Option<Arc<Published>> {
        self.0.newest.load_full()
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> &Held {
        &self.0.workshop.held
    }

    /// Answers that are still being read, and were made for one request or of an earlier report, take up more than they may.
    pub fn is_overfull(&self) -> bool {
        let newest = self.current().map_or(0, |published| published.rendered_bytes());
        self.0.workshop.held.bytes().saturating_sub(newest) > ANSWERS_OLD_BYTES_MAX
    }

    /// No report came for so long, the first one included, that the agent cannot be at work any more.
    pub fn is_stale(&self) -> bool {
        let since = self.current().map_or(self.0.begun, |published| published.came);
        clock::timer().duration_since(since) > REPORT_AGE_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::delivery::render::metrics;
    use crate::domain::report::sample;

    fn decompress(gzip: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(gzip).read_to_end(&mut plain).expect("gzip");
        plain
    }

    async fn body(published: &Published, what: Representation, gzip: bool) -> Vec<u8> {
        let pieces = published.body(what, gzip).await.expect("rendered");
        let length = pieces.left();
        let bytes = pieces.collect::<Vec<_>>().concat();
        assert_eq!(bytes.len() as u64, length, "{what:?}");
        bytes
    }

    const ALL: [Representation; 3] =
        [Representation::Metrics(Format::OpenMetrics), Representation::Metrics(Format::Text), Representation::Json];

    #[tokio::test]
    async fn each_representation_compresses_to_itself() {
        let published = Published::new(sample::full(), 0);
        for what in ALL {
            let plain = body(&published, what, false).await;
            assert!(!plain.is_empty());
            assert_eq!(decompress(&body(&published, what, true).await), plain, "{what:?}");
        }
        let openmetrics = metrics::openmetrics(published.report());
        assert_eq!(body(&published, ALL[0], false).await, openmetrics.as_bytes());
        assert_eq!(body(&published, ALL[1], false).await, metrics::to_text(&openmetrics).as_bytes());
    }

    fn large() -> Published {
        let mut report = sample::full();
        let database = Arc::clone(&report.assessment.databases[0]);
        report.assessment.databases = vec![database; INLINE_RENDER_TARGETS_MAX + 1];
        let published = Published::new(report, 0);
        assert!(published.large);
        published
    }

    /// On the one thread that also has to serve everybody else.
    #[tokio::test(flavor = "current_thread")]
    async fn those_who_ask_while_a_large_report_is_rendered_get_the_same() {
        let published = Arc::new(large());
        let asks = (0..20).map(|_| {
            let published = Arc::clone(&published);
            tokio::spawn(async move { (published.exposition().await, published.json().await) })
        });
        let mut made: Vec<_> = Vec::new();
        for ask in asks.collect::<Vec<_>>() {
            let (exposition, json) = ask.await.expect("joined");
            made.push((Arc::as_ptr(&exposition.expect("rendered")), json.expect("rendered").packed.as_ptr() as usize));
        }
        made.dedup();
        assert_eq!(made.len(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_nobody_waits_for_any_more_is_kept() {
        let published = large();
        for what in ALL {
            assert!(published.body(what, true).now_or_never().is_none(), "it takes longer");
        }
        // They begin one after the other, and each gives this thread back while it waits.
        while published.renderings.json.get().is_none() || published.renderings.exposition.get().is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// A report of many databases, and that many bytes of JSON.
    fn wide(number: usize) -> Report {
        let mut report = sample::full();
        let databases = &report.assessment.databases;
        let renamed = (0..INLINE_RENDER_TARGETS_MAX / 10).map(|other| {
            let mut database = (*databases[0]).clone();
            database.name = format!("db{number}-{other}").as_str().into();
            Arc::new(database)
        });
        report.assessment.databases = renamed.collect();
        report
    }

    #[tokio::test]
    async fn what_is_kept_of_reports_that_are_still_being_read_is_compressed_and_counted() {
        let cell = ReportCell::default();
        let held = || cell.held().bytes();
        let mut reading = Vec::new();
        for number in 0..8 {
            cell.publish(wide(number));
            let published = cell.current().expect("published");
            for what in ALL {
                let mut pieces = published.body(what, false).await.expect("rendered");
                reading.push((pieces.next().expect("a piece"), pieces));
            }
            let Json { packed, length } = published.json().await.expect("rendered");
            assert!(packed.len() as u64 * 5 < length, "{} of {length}", packed.len());
            let make = |_: &Report| Ok(Made::from(vec![0; 1000]));
            let (made, _) = published.made(false, make).await.expect("made");
            reading.push((made, Bytes::new().into()));
        }
        let (most, newest) = (held(), cell.current().expect("published").rendered_bytes());
        assert!(newest > 10_000 && most > 8 * 1000 + 6 * newest, "{newest} of {most}");
        assert!(!cell.is_overfull());
        let _more = cell.held().share(ANSWERS_OLD_BYTES_MAX);
        assert!(cell.is_overfull());
        drop(reading);
        // One exposition is kept, of which the next one is made.
        assert_eq!(held() - ANSWERS_OLD_BYTES_MAX, newest);
        assert!(!cell.is_overfull());
    }

    #[tokio::test]
    async fn what_most_databases_were_is_not_kept() {
        let cell = ReportCell::default();
        let mut report = sample::full();
        let database = Arc::clone(&report.assessment.databases[0]);
        report.assessment.databases = vec![database; 2 * INLINE_RENDER_TARGETS_MAX];
        let is_kept = || cell.0.workshop.last.try_lock().expect("idle").exposition.is_some();
        for (changed, kept) in [(0, true), (INLINE_RENDER_TARGETS_MAX - 1, true), (INLINE_RENDER_TARGETS_MAX, false)] {
            cell.publish(report.clone());
            body(&cell.current().expect("published"), ALL[0], true).await;
            assert!(is_kept());
            for database in &mut report.assessment.databases[..changed] {
                *database = Arc::new((**database).clone());
            }
            cell.publish(report.clone());
            assert_eq!(is_kept(), kept, "{changed} changed");
        }
    }

    #[test]
    fn the_cell_has_the_newest_report() {
        let cell = ReportCell::default();
        assert!(cell.current().is_none());
        cell.publish(sample::report(Vec::new()));
        assert_eq!(cell.clone().current().expect("published").report().assessment.databases.len(), 0);
        cell.publish(sample::full());
        assert!(!cell.current().expect("published").report().assessment.databases.is_empty());
    }
}
