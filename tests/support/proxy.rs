//! A network between a client and a server, as bad as it is told to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test that includes it uses its own part")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What becomes of connections.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Open,
    /// Nothing listens.
    Refused,
    Ends(After, End),
    /// A byte of an answer each time so much has passed.
    Slow(Duration),
    /// The server at another port of this machine answers.
    Elsewhere(u16),
}

/// How many bytes of answers pass.
#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    /// On each connection.
    Each(u64),
    /// On all connections together, from when the way became so.
    All(u64),
}

/// And then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Reset,
    /// Nothing comes any more, and the connection stays.
    Hang,
}

/// Forwards connections to a server on this machine.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    /// Accepts; nobody does while connections are refused.
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    server: u16,
    state: Mutex<State>,
    ended: AtomicU64,
    /// What came on each connection.
    asked: Mutex<BTreeMap<u64, Vec<u8>>>,
}

struct State {
    way: Way,
    /// Bytes of answers since the way became so.
    passed: Arc<AtomicU64>,
    /// Both ends of each connection.
    connections: BTreeMap<u64, [TcpStream; 2]>,
    next: u64,
}

impl Proxy {
    /// Before the server at a port of this machine.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { way: Way::Open, passed: Arc::default(), connections: BTreeMap::new(), next: 0 };
        let (ended, asked) = Default::default();
        let shared = Arc::new(Shared { server, state: Mutex::new(state), ended, asked });
        let listening = Mutex::new(Some(accept(listener, &shared)));
        Self { port, shared, listening }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on; connections of before are cut.
    pub(crate) fn set(&self, way: Way) {
        let refuses = matches!(way, Way::Refused);
        {
            let mut state = self.shared.state.lock().unwrap();
            state.way = way;
            state.passed = Arc::default();
            for stream in std::mem::take(&mut state.connections).into_values().flatten() {
                // It may have ended by itself.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let mut listening = self.listening.lock().unwrap();
        if let Some(thread) = listening.take_if(|_| refuses) {
            // Wakes it.
            let _ = TcpStream::connect(self.address());
            thread.join().unwrap();
        } else if listening.is_none() && !refuses {
            *listening = Some(accept(self.bind(), &self.shared));
        }
    }

    /// Listens where it did before.
    fn bind(&self) -> TcpListener {
        let begun = Instant::now();
        loop {
            match TcpListener::bind(self.address()) {
                Ok(listener) => return listener,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The bytes that pass on all connections have passed.
    pub(crate) fn is_closed(&self) -> bool {
        let state = self.shared.state.lock().unwrap();
        matches!(state.way, Way::Ends(After::All(bytes), _) if state.passed.load(Ordering::SeqCst) >= bytes)
    }

    /// Connections that were ended here, since it was started.
    pub(crate) fn ended(&self) -> u64 {
        self.shared.ended.load(Ordering::SeqCst)
    }

    /// The heads of all requests that were whole, where these are HTTP and have no bodies.
    pub(crate) fn heads(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().unwrap();
        let texts = asked.values().map(|bytes| String::from_utf8_lossy(bytes));
        texts
            .flat_map(|text| text.split_inclusive("\r\n\r\n").map(str::to_owned).collect::<Vec<_>>())
            .filter(|head| head.ends_with("\r\n\r\n"))
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Way::Refused);
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for client in listener.incoming() {
            let shared = Arc::clone(&shared);
            if matches!(shared.state.lock().unwrap().way, Way::Refused) {
                return;
            }
            // A server that is down: the client sees a connection that ends.
            thread::spawn(move || client.and_then(|client| shared.serve(client)));
        }
    })
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let (way, passed, id, server) = {
            let mut state = self.state.lock().unwrap();
            let port = if let Way::Elsewhere(port) = state.way { port } else { self.server };
            let server = TcpStream::connect(("127.0.0.1", port))?;
            let (id, ends) = (state.next, [client.try_clone()?, server.try_clone()?]);
            state.next += 1;
            state.connections.insert(id, ends);
            (state.way.clone(), Arc::clone(&state.passed), id, server)
        };
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let shared = Arc::clone(self);
        let asking = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count @ 1..) = from_client.read(&mut buffer) {
                shared.asked.lock().unwrap().entry(id).or_default().extend(&buffer[..count]);
                // Whoever waits for an answer stays, also where the server is gone.
                let _ = to_server.write_all(&buffer[..count]);
            }
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let end = answer(&way, &passed, &server, &client);
        self.ended.fetch_add(u64::from(end.is_some()), Ordering::SeqCst);
        let shut = match end {
            Some(End::Hang) => None,
            Some(End::Reset) => {
                // What is closed is reset then.
                rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
                Some(Shutdown::Read)
            }
            None => Some(Shutdown::Both),
        };
        // It may have ended by itself.
        let _ = shut.map(|how| client.shutdown(how));
        asking.join().unwrap();
        self.state.lock().unwrap().connections.remove(&id);
        server.shutdown(Shutdown::Both)
    }
}

/// Passes answers on, and says how they end if not by themselves.
fn answer(way: &Way, passed: &AtomicU64, mut server: &TcpStream, mut client: &TcpStream) -> Option<End> {
    let (mut buffer, mut own) = ([0; 16 << 10], 0);
    loop {
        let most = match *way {
            Way::Ends(After::Each(bytes), end) if own >= bytes => return Some(end),
            Way::Ends(After::All(bytes), end) if passed.load(Ordering::SeqCst) >= bytes => return Some(end),
            Way::Ends(After::Each(bytes), _) => (bytes - own).min(buffer.len() as u64),
            Way::Slow(_) => 1,
            _ => buffer.len() as u64,
        };
        let Ok(count @ 1..) = server.read(&mut buffer[..most as usize]) else { return None };
        if let Way::Slow(pause) = way {
            thread::sleep(*pause);
        }
        own += count as u64;
        passed.fetch_add(count as u64, Ordering::SeqCst);
        client.write_all(&buffer[..count]).ok()?;
    }
}
