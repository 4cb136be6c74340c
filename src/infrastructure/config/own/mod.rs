//! streamgauge's own configuration: settings, databases, and the targets that follow.

pub(crate) mod alerting;
pub(crate) mod database;
pub(crate) mod drill;
pub(crate) mod metrics;
pub(crate) mod objectives;
pub(crate) mod observe;
pub(crate) mod receiver;
pub(crate) mod scratch;
pub(crate) mod settings;
pub(crate) mod targets;
pub(crate) mod web;
