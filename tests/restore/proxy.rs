//! A network between a client and a server, as bad as it is told to be.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Forwards connections to a server, and answers of at most so many bytes.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    rules: Arc<Rules>,
}

struct Rules {
    server: String,
    /// A connection breaks after so many bytes of answers.
    per_connection: AtomicU64,
    /// No answers pass after so many bytes on all connections.
    in_all: AtomicU64,
    passed: AtomicU64,
    /// What does not pass waits, instead of breaking its connection.
    stall: AtomicBool,
    broken: AtomicU64,
}

impl Proxy {
    pub(crate) fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Arc::new(Rules {
            server,
            per_connection: AtomicU64::new(u64::MAX),
            in_all: AtomicU64::new(u64::MAX),
            passed: AtomicU64::new(0),
            stall: AtomicBool::new(false),
            broken: AtomicU64::new(0),
        });
        let shared = Arc::clone(&rules);
        thread::spawn(move || {
            for client in listener.incoming() {
                let rules = Arc::clone(&shared);
                thread::spawn(move || rules.serve(client.unwrap()));
            }
        });
        Self { port, rules }
    }

    pub(crate) fn break_each_after(&self, bytes: u64) {
        self.rules.per_connection.store(bytes, Ordering::SeqCst);
    }

    /// After so many bytes from now on nothing passes: connections break, or stall.
    pub(crate) fn close_after(&self, bytes: u64, stall: bool) {
        self.rules.stall.store(stall, Ordering::SeqCst);
        self.rules.in_all.store(self.rules.passed.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.rules.in_all.store(u64::MAX, Ordering::SeqCst);
    }

    /// The bytes after which nothing passes were reached.
    pub(crate) fn is_closed(&self) -> bool {
        self.rules.is_closed()
    }

    /// Connections that were broken.
    pub(crate) fn broken(&self) -> u64 {
        self.rules.broken.load(Ordering::SeqCst)
    }
}

impl Rules {
    fn is_closed(&self) -> bool {
        self.passed.load(Ordering::SeqCst) >= self.in_all.load(Ordering::SeqCst)
    }

    fn serve(&self, client: TcpStream) {
        // A server that is down: the client sees a connection that ends.
        let Ok(server) = TcpStream::connect(&self.server) else { return };
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        self.answer(&server, &client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    fn answer(&self, mut server: &TcpStream, mut client: &TcpStream) {
        let mut buffer = [0; 16 << 10];
        let mut left = self.per_connection.load(Ordering::SeqCst);
        loop {
            while self.is_closed() && self.stall.load(Ordering::SeqCst) {
                thread::park_timeout(std::time::Duration::from_millis(10));
            }
            let Ok(count @ 1..) = server.read(&mut buffer) else { return };
            let count = (count as u64).min(left);
            left -= count;
            self.passed.fetch_add(count, Ordering::SeqCst);
            if client.write_all(&buffer[..count as usize]).is_err() {
                return;
            }
            if left == 0 || (self.is_closed() && !self.stall.load(Ordering::SeqCst)) {
                self.broken.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}
