//! Checks of the database itself.

use super::entry::{Check, Context, Explanation, Unit, rule};
use crate::domain::assessment::{DatabaseReport, DatabaseState};
use crate::domain::number::database::{JOURNAL_MODE_WAL, REPLACED, REPLICAS, UP};
use crate::domain::verdict::Severity;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "DatabaseUnreadable",
        title: "The database can be read",
        summary: "{database} cannot be read",
        description: "The file of {database} is missing, unreadable or not a database.",
        action: "Check the path and its permissions. If the file is gone, do not stop the application: its process may \
                 still have the deleted file open: `sudo sh -c 'for p in /proc/[0-9]*; do ls -l $p/fd/*; done' \
                 2>/dev/null | grep NAME.db` shows PIDs and descriptors. Freeze it (`kill -STOP`) and copy the \
                 database and its -wal from /proc/PID/fd, as the runbook shows. Only then restore.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, UP.is(0.0), 5)],
        explain: |context, on| unreadable(context, on.database()?),
    },
    Check {
        name: "DatabaseReplaced",
        title: "The database file is the one that its WAL belongs to",
        summary: "{database} was replaced while it was in use",
        description: "The file of {database} was replaced or overwritten while programs had it open. They still use \
                      the old one: what they commit goes to a deleted file or damages the new one, and the replica \
                      does not follow the new one.",
        action: "Do not stop the application yet: freeze it and Litestream (`kill -STOP`), and save what exists only \
                 in a deleted file, as the runbook shows. Then kill both (`kill -KILL`), put the right file back while \
                 nothing has it open, and start both.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, REPLACED.is(1.0), 1)],
        explain: |context, on| replaced(context, on.database()?),
    },
    Check {
        name: "JournalModeNotWal",
        title: "The database is in WAL mode",
        summary: "{database} is not in WAL mode",
        description: "According to its header, {database} uses a rollback journal, which Litestream cannot replicate.",
        action: "Run PRAGMA journal_mode=WAL once, and find out what turned it off.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, JOURNAL_MODE_WAL.is(0.0), 5)],
        explain: |context, on| journal_mode(context, on.database()?),
    },
    Check {
        name: "NoReplica",
        title: "The database has a replica",
        summary: "{database} has no replica",
        description: "No replica is configured for {database}: if this host is lost, so is the data.",
        action: "Give it a `replica` in litestream.yml. If it needs no backup, silence this check and say why.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, REPLICAS.is(0.0), 5)],
        explain: |context, on| replicated(context, on.database()?),
    },
];

fn unreadable(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let reason = || database.reason.as_ref().map_or_else(|| "no reason given".into(), ToString::to_string);
    Some(match database.state {
        DatabaseState::Monitored => Explanation::Known("its files can be read".into()),
        DatabaseState::Missing | DatabaseState::Unreadable => Explanation::Known(reason()),
        DatabaseState::Pending => Explanation::Unknown("not looked at yet".into()),
        DatabaseState::OverLimit => Explanation::Unknown("more databases than one agent watches".into()),
        DatabaseState::Remote => return None,
    })
}

/// Without a wal-index there is nothing that the file would have to agree with.
fn replaced(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let replacement = &database.local.as_ref()?.replacement;
    replacement.replaced.map(|_| Explanation::Known(replacement.evidence.to_string()))
}

fn journal_mode(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let local = database.local.as_ref()?;
    if local.journal_mode_wal && local.replacement.replaced == Some(true) {
        // What its programs use says WAL, and what the next one opens is another file.
        return Some(Explanation::Unknown(
            "the file at its path is not what its programs use, see DatabaseReplaced".into(),
        ));
    }
    let says = if local.journal_mode_wal { "WAL" } else { "rollback journal, which Litestream cannot replicate" };
    Some(Explanation::Known(format!("its header says {says}")))
}

fn replicated(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let names: Vec<&str> = database.replicas.iter().map(|replica| replica.name.as_str()).collect();
    Some(Explanation::Known(if names.is_empty() { "none is configured".into() } else { names.join(", ") }))
}
