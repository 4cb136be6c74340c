//! Dashboards for Grafana (10.4 and later): `dashboards/`. They ask for the numbers by their declarations.
//!
//! Each is a list of panels; `grafana` turns them into its JSON. What holds of all of them is held by `tests`.

mod agent;
mod database;
mod field;
mod fleet;
mod grafana;
mod panel;
mod promql;
#[cfg(test)]
mod tests;

use self::panel::{Dashboard, Panel, Scale, Unit, table};
use crate::domain::number::Number;
use crate::domain::number::store::{
    NONCURRENT_EXPIRY, OBJECT_LOCK_ENABLED, POSTURE_CHECKED, PUBLIC, PUBLIC_ACCESS_BLOCKED, VERSIONING,
};

type Build = fn() -> Dashboard;

/// The dashboards by their names, which are those of their files as well.
const ALL: [(&str, Build); 3] = [("fleet", fleet::fleet), ("database", database::database), ("agent", agent::agent)];

/// Where a dashboard is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashboardFormat {
    /// Into Grafana's provisioning, a sidecar or its HTTP API: as it is.
    Provisioning,
    /// Into the import dialog or grafana.com, which asks for the data source.
    Import,
}

/// The names of the dashboards.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// A dashboard as JSON; empty where none has this name.
pub fn dashboard(name: &str, format: DashboardFormat) -> String {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, dashboard)| grafana::json(&dashboard(), format)).unwrap_or_default()
}

/// How buckets are set up, where `of` writes the PromQL of one setting.
fn posture(description: &'static str, of: fn(&Number) -> String) -> Panel {
    table("Posture", description, &["bucket"])
        .column("Public", Unit::Count, Scale::Bad, of(&PUBLIC))
        .column("Public access blocked", Unit::Count, Scale::Good, of(&PUBLIC_ACCESS_BLOCKED))
        .column("Versioned", Unit::Count, Scale::Good, of(&VERSIONING))
        .column("Old versions expire", Unit::Count, Scale::Good, of(&NONCURRENT_EXPIRY))
        .column("Object lock", Unit::Count, Scale::YesNo, of(&OBJECT_LOCK_ENABLED))
        .column("Asked ago", Unit::Seconds, Scale::Plain, format!("time() - ({})", of(&POSTURE_CHECKED)))
        .height(6)
}
