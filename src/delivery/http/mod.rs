//! The HTTP server: hands out what was rendered, takes requests to reload, and survives whatever else is sent to it.
//!
//! HTTP/1.1 without TLS. No request causes a look at a database or a bucket.

mod answer;
mod guard;
mod listener;
mod negotiate;
mod reload;
mod routes;
mod seats;
mod server;
mod stream;

pub use guard::Guard;
pub use reload::{ReloadHandle, ReloadRequests};
pub use seats::connections_max;
pub use server::Server;

#[cfg(test)]
mod tests;
