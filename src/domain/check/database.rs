//! Checks of the database itself.

use super::{Answer, Severity, Status, Subject};
use crate::domain::report::DatabaseState;

pub(super) fn unreadable(subject: &Subject<'_>) -> Answer {
    let reason = || subject.database.reason.as_ref().map_or_else(|| "no reason given".into(), ToString::to_string);
    let (status, detail) = match subject.database.state {
        DatabaseState::Monitored => (Status::Pass, "its files are read".into()),
        DatabaseState::Missing | DatabaseState::Unreadable => (Status::Fail, reason()),
        DatabaseState::Pending => (Status::Unknown, "not looked at yet".into()),
        DatabaseState::OverLimit => (Status::Unknown, "more databases than one agent watches".into()),
        DatabaseState::Remote => return None,
    };
    Some((Severity::Critical, status, detail))
}

pub(super) fn journal_mode(subject: &Subject<'_>) -> Answer {
    let local = subject.database.local.as_ref()?;
    let (status, detail) = if local.journal_mode_wal {
        (Status::Pass, "its header says WAL".into())
    } else {
        (Status::Fail, "its header says rollback journal, which Litestream cannot replicate".into())
    };
    Some((Severity::Critical, status, detail))
}
