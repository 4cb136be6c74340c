//! Restore drills as users run them: replicas of the genuine Litestream, damaged on purpose, stores that fail, and
//! processes that are killed.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "these are tests")]

#[path = "drill/agent.rs"]
mod agent;
#[path = "drill/damage.rs"]
mod damage;
#[path = "drill/hostile.rs"]
mod hostile;
#[path = "drill/infrastructure.rs"]
mod infrastructure;
#[path = "drill/killed.rs"]
mod killed;
mod lab;
#[path = "drill/live.rs"]
mod live;
#[path = "drill/process.rs"]
mod process;
#[path = "drill/site.rs"]
mod site;
#[path = "drill/v3.rs"]
mod v3;
