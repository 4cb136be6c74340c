//! The messages of `streamgauge restore`, before and after.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::delivery::render::json;
use crate::domain::human;
use crate::domain::limits::RESTORE_PIECE_BYTES;
use crate::domain::litestream::{Hole, Layout, PlanTarget};
use crate::domain::price::Prices;
use crate::domain::reason::Reason;
use crate::domain::restore::{RestorePlan, Restored};
use crate::domain::target::ReplicaLocation;

/// The context of all messages of one restore.
pub struct Words<'a> {
    pub location: &'a ReplicaLocation,
    pub point: PlanTarget,
    pub now: Timestamp,
    /// The local time zone.
    pub zone: &'a TimeZone,
    /// The prices of reading the replica.
    pub prices: Prices,
}

/// A database that was restored.
pub struct Done<'a> {
    /// `None`: standard output.
    pub path: Option<&'a Path>,
    /// It is where the live database belongs.
    pub in_place: bool,
    /// User and group of the directory that it is in, where the file has others: a program that runs as its owner cannot
    /// open it.
    pub owner: Option<(u32, u32)>,
    pub plan: &'a RestorePlan,
    pub restored: &'a Restored,
    pub elapsed: Duration,
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    output: String,
    replica: String,
    layout: Layout,
    generation: Option<String>,
    /// The recovery point: nothing that was committed later is in the database.
    through: Timestamp,
    shortfall: Option<&'a Hole>,
    planned_bytes: u64,
    estimated_dollars: f64,
    seconds: f64,
    #[serde(flatten)]
    restored: &'a Restored,
}

impl Words<'_> {
    /// Says what will be restored.
    pub fn plan(&self, plan: &RestorePlan) -> String {
        let asked = match self.point {
            PlanTarget::Latest => "the newest state".to_owned(),
            PlanTarget::Txid(txid) => format!("the state at TXID {txid}"),
            PlanTarget::Time(time) => format!("what was written before {}", self.instant(time)),
        };
        let objects = human::counted(plan.objects.len(), "object");
        let size =
            plan.database_bytes.map_or_else(String::new, |bytes| format!(", a database of {}", human::bytes(bytes)));
        let price = match self.prices != Prices::FREE {
            true => format!(", at most about ${:.4}", self.dollars(plan)),
            false => String::new(),
        };
        let url = human::printable(&self.location.url());
        let (layout, position) = (plan.layout.as_str(), position(plan));
        let (through, download) = (self.instant(plan.through), human::bytes(plan.bytes()));
        format!(
            "from    {url} ({layout})\n\
             asked   {asked}\n\
             found   {position}, written {through}\n\
             read    {objects}, {download}{price}{size}\n"
        )
    }

    /// A warning where less is restored than was asked for.
    pub fn shortfall(&self, plan: &RestorePlan) -> Option<String> {
        let Hole { after, before } = plan.shortfall.as_ref()?;
        let silent = match self.point {
            PlanTarget::Time(_) => {
                "Litestream's own restore -timestamp would give you this older state silently, with exit code 0.\n"
            }
            _ => "",
        };
        Some(format!(
            "WARNING: this is not all that you asked for. The replica has newer files, from {before} on, but those \
             between {after} and there are missing.\nWARNING: what was committed after {} is lost.\n{silent}",
            self.instant(plan.through)
        ))
    }

    /// Says what was restored, and what to do with it.
    pub fn done(&self, done: &Done<'_>) -> String {
        let Done { path, in_place, owner, plan, restored, elapsed } = done;
        let size = human::bytes(restored.bytes);
        let next =
            path.map_or_else(String::new, |path| next(&path.display().to_string(), *in_place, *owner, plan.is_older));
        let path = path.map_or_else(|| "to standard output".to_owned(), |path| path.display().to_string());
        let pages = human::counted(restored.pages, "page");
        let (page_size, seconds) = (restored.page_size, elapsed.as_secs_f64());
        let rate = human::bytes((restored.bytes as f64 / seconds.max(0.001)) as u64);
        let (through, ago) = (self.instant(plan.through), human::duration(human::age_seconds(plan.through, self.now)));
        let received = human::bytes(restored.downloaded_bytes);
        let requests = human::counted(restored.requests, "request");
        let objects = human::counted(restored.objects.len(), "object");
        let cut = match restored.trailing_bytes {
            0 => String::new(),
            count => format!(
                "WARNING: the newest segment has {} behind its last whole WAL frame. What was committed there, if \
                 anything, is not in it.\n",
                human::counted(count, "byte")
            ),
        };
        format!(
            "restored {path}: {size}, {pages} of {page_size} bytes, in {seconds:.2} s ({rate}/s)\n\
             state    {position}, written {through}, {ago} ago\n\
             proven   {objects}, {received} in {requests}, every checksum right\n{cut}{next}",
            position = position(plan),
        )
    }

    /// The same for a program.
    pub fn json(&self, done: &Done<'_>) -> Result<String, Reason> {
        let plan = done.plan;
        let answer = Answer {
            output: done.path.map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
            replica: self.location.url(),
            layout: plan.layout,
            generation: plan.generation.as_ref().map(ToString::to_string),
            through: plan.through,
            shortfall: plan.shortfall.as_ref(),
            planned_bytes: plan.bytes(),
            estimated_dollars: self.dollars(plan),
            seconds: done.elapsed.as_secs_f64(),
            restored: done.restored,
        };
        json::line(&answer)
    }

    fn dollars(&self, plan: &RestorePlan) -> f64 {
        let reads = plan.objects.iter().map(|object| object.size.div_ceil(RESTORE_PIECE_BYTES)).sum();
        self.prices.dollars(reads, 0, plan.bytes())
    }

    fn instant(&self, at: Timestamp) -> String {
        human::instant_in(at, self.zone)
    }
}

fn next(path: &str, in_place: bool, owner: Option<(u32, u32)>, is_older: bool) -> String {
    let mut steps = vec![format!("sqlite3 {path} 'PRAGMA integrity_check'")];
    steps.extend(
        owner.map(|(user, group)| {
            format!("chown {user}:{group} {path}, like its directory: so far only you can open it")
        }),
    );
    steps.push(match in_place {
        true => "then start Litestream and the application".to_owned(),
        false => format!(
            "then stop the application and Litestream, move the old database with its -wal and -shm away, \
             put {path} in its place, and start them again"
        ),
    });
    if is_older {
        steps.push("this is an older state: give Litestream a new path for its replica".to_owned());
    }
    let lines = steps.iter().enumerate().map(|(at, step)| format!("{:<9}{step}\n", if at == 0 { "next" } else { "" }));
    lines.collect()
}

/// The live database has more than was restored.
pub fn behind(bytes: u64) -> String {
    format!(
        "WARNING: the live database has {} of committed WAL that the replica does not hold, so this restore lacks it. \
         Litestream's own restore would not tell you.\n",
        human::bytes(bytes)
    )
}

/// Why there is no room, with numbers.
pub fn no_space(directory: &Path, needed: u64, free: u64, reserve: u64) -> String {
    let directory = directory.display();
    let [needed, shown, left] = [needed, free, reserve].map(human::bytes);
    match free {
        0 => format!("restore to {directory}: the database takes {needed}, but nothing is free there"),
        _ => format!(
            "restore to {directory}: the database takes {needed}; {shown} are free, of which {left} must stay free"
        ),
    }
}

fn position(plan: &RestorePlan) -> String {
    match (&plan.txid, &plan.generation) {
        (Some(txid), _) => format!("TXID {txid}"),
        (None, Some(generation)) => format!("generation {generation}"),
        (None, None) => "no position".to_owned(),
    }
}
