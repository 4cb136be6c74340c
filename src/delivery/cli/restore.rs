//! `streamgauge restore`: the recovery tool at three in the morning.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::SignalKind;
use tokio::task::spawn_blocking;
use tracing::level_filters::LevelFilter;

use super::args::{SourceArgs, WithoutArgs};
use super::output::say;
use super::progress::Display;
use super::restore_place::{
    if_denied, is_live, left_behind, other_owner, refuse_full_disk, refuse_occupied, refuse_terminal, scratch_path,
    temporary_directory,
};
use super::runtime::{Signals, block_on, cores};
use super::sources::{Picked, Sources, stores};
use super::{output, restore_words as words, when};
use crate::domain::litestream::{PlanTarget, Txid};
use crate::domain::observation::Journal;
use crate::domain::printable::printable;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestorePlan, Restored};
use crate::domain::target::Target;
use crate::infrastructure::clock::{self, SystemClock};
use crate::infrastructure::config::{Settings, read_age_identities};
use crate::infrastructure::database::Watch;
use crate::infrastructure::files::directory;
use crate::infrastructure::reserve::RestoredFile;
use crate::infrastructure::scratch::ScratchFile;
use crate::infrastructure::stream::{Stream, failed, standard_output};
use crate::usecase::ports::{Clock, DatabaseWatch, ReplicaStore, RestoreFile, Stores};
use crate::usecase::restore::{
    RestoreOptions, RestoreRequest, plan_restore, restore_in_order, restore_requested, way_out,
};

/// Reads at the same time. In a bucket each waits for an answer; a directory has none to wait for.
const BUCKET_DOWNLOADS: usize = 8;
const DIRECTORY_DOWNLOADS: usize = 2;

pub const AFTER_HELP: &str = "\
No existing file is touched: the database is restored beside PATH, every object's checksum is verified, and only a \
complete, proven database gets the name PATH. A failure or Ctrl-C leaves nothing behind. A killed restore leaves the \
file that it was writing, .NAME.restoring-PID; the next restore to the same PATH tells you of it.

--at takes RFC 3339 (2026-11-22T08:30:00Z), a time in the local time zone ('2026-11-22 08:30'), or how long ago (2h). \
It restores everything that the replica holds from before that time. `streamgauge restorable` shows which times there \
are.

-o - writes the database to standard output. Check the exit code, and discard the output unless it is 0: only at the \
end is it known whether every checksum is right. Where the format does not allow streaming (v0.3, and many files of \
v0.5), the database is first restored to a file without a name, in the directory that TMPDIR names or in /var/tmp.

A damaged object ends the restore, and the hint says what can be restored. With --without KEY, that may still be the \
newest state: what one object holds is often in others, too. Nothing is left out unless you say so.

Exit code: 0 restored, 2 not restored. If files are missing in the middle of the replica, --at restores what comes \
before them, and says so.

Examples:
  The newest state of a database in the configuration:
    streamgauge restore orders -o /var/tmp/orders.db
  The same without a configuration (credentials from the environment, as for Litestream):
    streamgauge restore s3://backups/orders -o orders.db
    streamgauge restore file:///mnt/replica -o orders.db
  To another host, without a file here:
    set -o pipefail
    streamgauge restore orders -o - | ssh standby 'cat > orders.new' && ssh standby 'mv -n orders.new orders.db'
  As it was before the bad deployment, or two hours ago:
    streamgauge restore orders -o orders.db --at '2026-11-22 08:30'
    streamgauge restore orders -o orders.db --at 2h
  Check it before you put it into place:
    sqlite3 orders.db 'PRAGMA integrity_check'";

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// A configured database by name or path, or a replica's URL such as s3://bucket/path or file:///directory
    #[arg(value_name = "DATABASE|URL")]
    pub place: String,

    /// Where to restore to; an existing file is never overwritten. Standard output: -
    #[arg(short, long, value_name = "PATH")]
    pub output: PathBuf,

    /// Restore what was written before this time [default: everything]
    #[arg(long, value_name = "TIME", conflicts_with = "txid")]
    pub at: Option<String>,

    /// Restore the state at a TXID of Litestream v0.5, given as 16 hexadecimal digits
    #[arg(long, value_name = "TXID", value_parser = when::txid)]
    pub txid: Option<Txid>,

    #[command(flatten)]
    pub without: WithoutArgs,

    /// The replica to restore from, if a database has several
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,

    /// File of age identities, for a replica that Litestream v0.3 encrypts [default: as configured]
    #[arg(long, value_name = "FILE")]
    pub age_identity: Option<PathBuf>,

    /// Number of decoding threads, for v0.5 to a file [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,

    /// Print nothing but errors, warnings and the result
    #[arg(short, long)]
    pub quiet: bool,

    #[arg(long, value_enum, default_value_t = RestoreFormat::Text)]
    pub format: RestoreFormat,

    #[command(flatten)]
    pub sources: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RestoreFormat {
    Text,
    /// One JSON object, at the end; with -o -, on standard error
    Json,
}

/// Restores.
///
/// # Errors
///
/// Why it could not; nothing is left behind then.
pub fn main(args: &RestoreArgs) -> Result<ExitCode, Reason> {
    super::logging::init_from(LevelFilter::ERROR);
    // Before anything is asked for or downloaded.
    match is_stream(args) {
        true => refuse_terminal()?,
        false => {
            refuse_occupied(&args.output)?;
            left_behind(&args.output).iter().for_each(|left| say(&format!("note    {left}\n")));
        }
    }
    let (settings, mut picked) = Sources::new(&args.sources).pick_one(&args.place, args.replica.as_deref())?;
    if let Some(path) = &args.age_identity {
        let unusable = |cause| format!("--age-identity {}: {cause}", path.display());
        let identity =
            read_age_identities(path).map_err(|cause| Reason::new(ReasonKind::Misconfigured, unusable(cause)))?;
        picked.replica.age_identities = vec![identity];
    }
    let (now, zone) = (SystemClock::start().now().wall(), TimeZone::system());
    let point = match (&args.at, args.txid) {
        (Some(at), _) => PlanTarget::Time(when::at(at, now, &zone)?),
        (None, Some(txid)) => PlanTarget::Txid(txid),
        (None, None) => PlanTarget::Latest,
    };
    let left = if is_stream(args) { NOT_WHOLE } else { "nothing was left behind" };
    block_on(interruptible(restore(args, &settings, picked, point, now, zone), left))?
}

/// What is to be known when the database did not get to standard output.
const NOT_WHOLE: &str = "what was written, if anything, is not a complete database";

/// Ends the work when the process is asked to end, and says what is `left` of it. What is being restored is removed as its
/// owner is dropped.
async fn interruptible(work: impl Future<Output = Result<ExitCode, Reason>>, left: &str) -> Result<ExitCode, Reason> {
    let mut signals = Signals::listen([SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()])?;
    tokio::select! {
        done = work => done,
        _ = signals.next() => {
            Err(Reason::new(ReasonKind::Failed, format!("restore: interrupted; {left}")))
        }
    }
}

async fn restore(
    args: &RestoreArgs,
    settings: &Settings,
    picked: Picked,
    point: PlanTarget,
    now: Timestamp,
    zone: TimeZone,
) -> Result<ExitCode, Reason> {
    let location = picked.replica.location.clone();
    let store = stores(settings).open(&location)?;
    let without = args.without.without.iter().copied().collect();
    let request = RestoreRequest { without, ..RestoreRequest::of(point) };
    let plan = with_way_out(store.as_ref(), &request, plan_restore(store.as_ref(), &request).await).await?;
    let policy = picked.target.as_ref().map_or(&settings.drill.policy, |target| &target.drill);
    let prices = location.prices(&policy.prices);
    let words = words::Words { location: &location, point, now, zone: &zone, prices };
    announce(args, &words, &plan);
    let options = RestoreOptions {
        downloads: if location.is_remote() { BUCKET_DOWNLOADS } else { DIRECTORY_DOWNLOADS },
        threads: args.threads.map_or_else(cores, usize::from),
        identities: picked.replica.age_identities.clone(),
    };
    let started = clock::monotonic();
    let done = match is_stream(args) {
        true => {
            let streamed = to_stream(args, Arc::clone(&store), &request, plan, options).await;
            streamed.inspect_err(|_| say(&format!("WARNING {NOT_WHOLE}\n")))
        }
        false => to_file(args, Arc::clone(&store), &request, plan, options).await,
    };
    let (plan, restored) = with_way_out(store.as_ref(), &request, done).await?;
    let live = picked.target.as_ref().and_then(|target| behind(target, &restored));
    if let Some(bytes) = live.filter(|_| point == PlanTarget::Latest) {
        say(&words::behind(bytes));
    }
    let in_place = picked.target.is_some_and(|target| is_live(&target, &args.output));
    let path = (!is_stream(args)).then_some(args.output.as_path());
    let done = words::Done {
        path,
        in_place,
        owner: path.and_then(|path| other_owner(path, in_place)),
        plan: &plan,
        restored: &restored,
        elapsed: clock::monotonic().duration_since(started),
    };
    let result = match args.format {
        RestoreFormat::Text => words.done(&done),
        RestoreFormat::Json => words.json(&done)?,
    };
    match is_stream(args) {
        true => say(&result),
        false => output::print(&result)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is going to be restored.
fn announce(args: &RestoreArgs, words: &words::Words<'_>, plan: &RestorePlan) {
    if !args.quiet {
        say(&words.plan(plan));
    }
    for note in &plan.notes {
        say(&format!("note    {}\n", printable(note)));
    }
    if let Some(warning) = words.shortfall(plan) {
        say(&warning);
    }
}

/// Has a failure say what does restore.
async fn with_way_out<T>(
    store: &dyn ReplicaStore,
    request: &RestoreRequest,
    done: Result<T, Reason>,
) -> Result<T, Reason> {
    match done {
        Ok(done) => Ok(done),
        Err(reason) => Err(way_out(store, request, reason).await),
    }
}

/// Whether the database goes to standard output.
fn is_stream(args: &RestoreArgs) -> bool {
    args.output.as_os_str() == "-"
}

async fn to_file(
    args: &RestoreArgs,
    store: Arc<dyn ReplicaStore>,
    request: &RestoreRequest,
    plan: RestorePlan,
    options: RestoreOptions,
) -> Result<(Arc<RestorePlan>, Restored), Reason> {
    refuse_full_disk(directory(&args.output), plan.database_bytes).map_err(if_denied)?;
    let scratch = ScratchFile::create(&scratch_path(&args.output)?).map_err(if_denied)?;
    let done = shown(args, plan.bytes(), |received| {
        restore_requested(store, request, plan, scratch.file(), options, received)
    });
    let done = done.await?;
    scratch.publish(&args.output)?;
    Ok(done)
}

async fn to_stream(
    args: &RestoreArgs,
    store: Arc<dyn ReplicaStore>,
    request: &RestoreRequest,
    plan: RestorePlan,
    options: RestoreOptions,
) -> Result<(Arc<RestorePlan>, Restored), Reason> {
    let mut stdout = standard_output()?;
    let (out, shared) = (Arc::new(Stream::new(stdout.try_clone().map_err(failed)?)), Arc::new(plan.clone()));
    let streamed = shown(args, plan.bytes(), |received| {
        restore_in_order(Arc::clone(&store), Arc::clone(&shared), Arc::clone(&out) as _, options.clone(), received)
    });
    if let Some(restored) = streamed.await {
        let restored = restored?;
        spawn_blocking(move || out.sync()).await.map_err(std::io::Error::other).map_err(failed)??;
        return Ok((shared, restored));
    }
    let directory = temporary_directory();
    let elsewhere = |reason: Reason| reason.with_hint("name a directory of a local disk in TMPDIR");
    refuse_full_disk(&directory, plan.database_bytes).map_err(elsewhere)?;
    let file = Arc::new(RestoredFile::temporary(&directory).map_err(elsewhere)?);
    if !args.quiet {
        say(&format!("by way of a file in {}\n", directory.display()));
    }
    let done = shown(args, plan.bytes(), |received| {
        restore_requested(store, request, plan, Arc::clone(&file) as _, options, received)
    });
    let done = done.await?;
    if !args.quiet {
        say("write   standard output\n");
    }
    // Whoever reads may be slow, and the process can be interrupted meanwhile.
    let written = spawn_blocking(move || file.copy_to(&mut stdout)).await;
    written.map_err(std::io::Error::other).flatten().map_err(failed)?;
    Ok(done)
}

/// Bytes of WAL that are committed in the live database, if it is here, and not restored: Litestream had not replicated
/// them, or the replica has lost them.
fn behind(target: &Target, restored: &Restored) -> Option<u64> {
    let (position, files) = (restored.position?, target.database.clone()?);
    let mut watch = Watch::new();
    watch.set_targets(vec![(target.name.clone(), files)]);
    let look = watch.sweep(SystemClock::start().now(), 1).pop()?.look.ok()?;
    let Journal::Wal(wal) = look.journal else { return None };
    let more = wal.position.end.checked_sub(position.end).filter(|_| wal.position.same_wal(&position));
    more.filter(|bytes| *bytes > 0)
}

/// Does a work that counts what it has received of `total` bytes, and shows how far it is.
async fn shown<T, F: Future<Output = T>>(args: &RestoreArgs, total: u64, work: impl FnOnce(Arc<AtomicU64>) -> F) -> T {
    let received = Arc::new(AtomicU64::new(0));
    let mut display = Display::new(total, Arc::clone(&received), args.quiet);
    let work = work(received);
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(display.interval());
    // The first is at once, when there is nothing to be said yet.
    ticks.tick().await;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => display.draw(clock::monotonic()),
        }
    };
    display.clear();
    done
}
