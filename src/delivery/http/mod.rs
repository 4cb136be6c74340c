//! The HTTP server: hands out what was rendered, takes requests to reload, and survives whatever else is sent to it.
//!
//! HTTP/1.1, and HTTP/2 over TLS. No request causes a look at a database or a bucket, except that a reload
//! lists the places of `[[observe]]`, unless a stranger asks for it and they were just listed.

mod active;
mod answer;
mod body;
mod door;
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
pub use seats::Room;
pub use server::Server;

#[cfg(test)]
mod tests;
