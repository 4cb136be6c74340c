//! Whether a Litestream runs that could replicate a database, and how that is known.

use std::fmt;

use serde::{Serialize, Serializer};

/// Whether a Litestream runs that could replicate a database. Its running proves nothing of its replicating.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LitestreamReport {
    /// A Litestream runs; `None` where that cannot be known from here.
    pub up: Option<bool>,
    /// How that is known, or why it is not.
    #[serde(serialize_with = "spoken_evidence")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub evidence: LitestreamEvidence,
    /// The process ID, where it is known.
    pub pid: Option<u32>,
}

/// How it is known whether a Litestream runs, or why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LitestreamEvidence {
    /// This process has the database open.
    Attached(u32),
    /// It runs; on what it works does not show.
    Running(u32),
    /// It runs, but not on this database, which it does not have open.
    RunningElsewhere(u32),
    /// It was stopped and does nothing.
    Stopped(u32),
    /// No process has the database open.
    Closed,
    /// None runs on this host.
    Gone,
    /// Not all processes show here.
    Unseen,
}

impl fmt::Display for LitestreamEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached(pid) => write!(f, "process {pid} has the database open"),
            Self::Running(pid) => write!(f, "process {pid} is running"),
            Self::RunningElsewhere(pid) => write!(f, "process {pid} is running, but does not have the database open"),
            Self::Stopped(pid) => write!(f, "process {pid} is stopped (SIGSTOP)"),
            Self::Closed => f.write_str("no process has the database open as Litestream would"),
            Self::Gone => f.write_str("no `litestream replicate` process on this host has it open"),
            Self::Unseen => f.write_str("its process cannot be seen from here"),
        }
    }
}

fn spoken_evidence<S: Serializer>(evidence: &LitestreamEvidence, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(evidence)
}
