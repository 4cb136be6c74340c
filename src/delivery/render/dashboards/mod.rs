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

use self::panel::{Dashboard, Panel, Role, Scale, Unit, table};
use crate::domain::number::Number;
use crate::domain::number::store::{
    NONCURRENT_EXPIRY, OBJECT_LOCK_ENABLED, POSTURE_CHECKED, PUBLIC, PUBLIC_ACCESS_BLOCKED, VERSIONING,
};
use crate::domain::profile::Profile;

type Build = fn(Profile) -> Dashboard;

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

/// A dashboard as JSON, of what is served with this profile; empty where none has this name.
pub fn dashboard(name: &str, format: DashboardFormat, profile: Profile) -> String {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, build)| grafana::json(&served(build(profile), profile), format, profile)).unwrap_or_default()
}

/// The dashboard without the queries, panels and sections whose numbers a profile does not have.
fn served(mut dashboard: Dashboard, profile: Profile) -> Dashboard {
    for section in &mut dashboard.sections {
        for panel in &mut section.panels {
            panel.queries.retain(|query| super::promql::profile(&query.expr) <= profile);
        }
        section.panels.retain(|panel| panel.queries.iter().any(|query| query.role != Role::Objective));
    }
    dashboard.sections.retain(|section| !section.panels.is_empty());
    dashboard
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
