//! What the probe, the positions and the agent make of replicas in memory: cases one by one, and thousands of lives of a
//! modelled Litestream, each from a seed.
//!
//! The lives drive `ReplicaProbe`, `Positions`, `settle` and `exposure` in the order in which the agent does, and not
//! the agent itself, whose watch is a thread of its own: its turns would not be the seed's. What only the agent does
//! (reloads, panics, a watch that dies) has cases of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "simulation/agent.rs"]
mod agent;
#[path = "simulation/alerts.rs"]
mod alerts;
#[path = "simulation/drills.rs"]
mod drills;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "simulation/history.rs"]
mod history;
#[path = "simulation/hour.rs"]
mod hour;
#[path = "simulation/keeping.rs"]
mod keeping;
#[path = "simulation/life.rs"]
mod life;
#[path = "simulation/litestream.rs"]
mod litestream;
#[path = "simulation/million.rs"]
mod million;
#[path = "simulation/peeks.rs"]
mod peeks;
#[path = "simulation/probe_v3.rs"]
mod probe_v3;
#[path = "simulation/probe_v5.rs"]
mod probe_v5;
#[path = "simulation/reading.rs"]
mod reading;
#[path = "simulation/reproductions.rs"]
mod reproductions;
#[path = "simulation/scene.rs"]
mod scene;
#[path = "simulation/tides.rs"]
mod tides;
#[path = "simulation/timeline.rs"]
mod timeline;
#[path = "simulation/world.rs"]
mod world;
