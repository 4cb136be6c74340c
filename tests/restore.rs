//! `streamgauge restore` gives the bytes that the real Litestream gives, or says why not, whatever happens on the way.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

#[path = "restore/big.rs"]
mod big;
#[path = "restore/broken.rs"]
mod broken;
#[path = "restore/command.rs"]
mod command;
#[path = "restore/damage.rs"]
mod damage;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "restore/incremental.rs"]
mod incremental;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "restore/same.rs"]
mod same;
#[path = "restore/source.rs"]
mod source;
#[path = "restore/stream.rs"]
mod stream;
