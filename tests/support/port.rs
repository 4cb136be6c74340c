//! Ports for servers that cannot say which one the system gave them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of this machine on which nobody listens, another one each time, and none that the system gives to whoever asks for
/// any: Linux begins those at 32768.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test programs that run at the same time begin far from each other.
        let begin = std::process::id().wrapping_mul(7_919) % 20_000;
        let port = 10_000 + ((begin + GIVEN.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
