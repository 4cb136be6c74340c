//! An SFTP server that lies: how, the first folder of a path says.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::server::{Auth, ChannelOpenHandle, Config, Msg, Session};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version};
use russh_sftp::server::StatusReply;

use crate::sftp_servers::{self, HOST, PASSWORD};

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    /// Handles that were given and not taken back.
    open: AtomicI64,
    /// What was written, and what folders were made.
    written: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

pub(crate) struct Liar {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Liar {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, shared) = (listener.local_addr().unwrap().port(), Arc::<Shared>::default());
        let config = Arc::new(Config { keys: vec![sftp_servers::key(HOST)], ..Config::default() });
        let server = shared.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                server.connections.fetch_add(1, Ordering::Relaxed);
                let handler = Door { channel: None, shared: server.clone() };
                let config = config.clone();
                tokio::spawn(async move { russh::server::run_stream(config, client, handler).await.unwrap().await });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Every handle has been given back.
    pub(crate) async fn wait_until_closed(&self) {
        for _ in 0..100 {
            if self.shared.open.load(Ordering::Relaxed) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} handles are still open", self.shared.open.load(Ordering::Relaxed));
    }
}

struct Door {
    channel: Option<Channel<Msg>>,
    shared: Arc<Shared>,
}

impl russh::server::Handler for Door {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        let lies = Lies { asked: 0, shared: self.shared.clone() };
        russh_sftp::server::run(self.channel.take().unwrap().into_stream(), lies).await;
        Ok(())
    }
}

/// One session.
struct Lies {
    /// Readings of directories.
    asked: u64,
    shared: Arc<Shared>,
}

fn attributes(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), size: Some(10), mtime: Some(now()), ..FileAttributes::empty() }
}

fn now() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32
}

fn name(txid: u64) -> String {
    format!("{txid:016x}-{txid:016x}.ltx")
}

fn done(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: String::new(), language_tag: String::new() }
}

impl Lies {
    fn opened(&self, id: u32, handle: String) -> Handle {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Handle { id, handle }
    }

    fn look(&self, path: &str) -> Result<FileAttributes, StatusCode> {
        if path.contains(".streamgauge") {
            return match self.shared.written.lock().unwrap().get(path).ok_or(StatusCode::NoSuchFile)? {
                Some(content) => Ok(FileAttributes { size: Some(content.len() as u64), ..attributes(0o100_644) }),
                None => Ok(attributes(0o040_755)),
            };
        }
        Ok(attributes(if path.ends_with(".ltx") { 0o100_644 } else { 0o040_755 }))
    }
}

impl russh_sftp::server::Handler for Lies {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusReply> {
        Ok(Version::new())
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        Ok(Attrs { id, attrs: self.look(&path)? })
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        self.lstat(id, path).await
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusReply> {
        self.asked = 0;
        Ok(self.opened(id, path))
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, StatusReply> {
        if flags.contains(OpenFlags::WRITE) {
            self.shared.written.lock().unwrap().insert(path.clone(), Some(Vec::new()));
        }
        Ok(self.opened(id, path))
    }

    async fn close(&mut self, id: u32, _: String) -> Result<Status, StatusReply> {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        Ok(done(id))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusReply> {
        self.asked += 1;
        let file =
            |name: &str| File { filename: name.to_owned(), longname: String::new(), attrs: attributes(0o100_644) };
        let files = match handle.split('/').nth(1).unwrap() {
            "endless" => (0..2000).map(|number| file(&name(self.asked * 2000 + number))).collect(),
            "empty" => Vec::new(),
            "hang" => std::future::pending().await,
            "echo" => return Err(StatusCode::Failure.with_message(format!("no {PASSWORD}"))),
            _ if self.asked > 1 => return Err(StatusCode::Eof.into()),
            "long" => vec![file(&"n".repeat(5000))],
            "odd" => {
                let (one, two) = (name(1), name(2));
                let odd = ["..", ".", "", "a/b", "a\0b", &two, "\u{fffd}", &one, "odd one", &two];
                odd.map(file).into()
            }
            "untyped" => vec![File { attrs: FileAttributes::empty(), ..file(&name(1)) }],
            _ => return Err(StatusCode::Eof.into()),
        };
        Ok(Name { id, files })
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Result<Data, StatusReply> {
        if let Some(Some(content)) = self.shared.written.lock().unwrap().get(&handle) {
            let end = content.len().min(offset as usize + len as usize);
            let data = content.get(offset as usize..end).filter(|data| !data.is_empty());
            return Ok(Data { id, data: data.ok_or(StatusCode::Eof)?.to_vec() });
        }
        match (handle.starts_with("/short"), 5_u64.saturating_sub(offset)) {
            (true, 0) => Err(StatusCode::Eof.into()),
            (true, left) => Ok(Data { id, data: vec![b'x'; left as usize] }),
            (false, _) => Ok(Data { id, data: vec![b'x'; len as usize + 1] }),
        }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, StatusReply> {
        let mut written = self.shared.written.lock().unwrap();
        let content = written.get_mut(&handle).and_then(Option::as_mut).ok_or(StatusCode::Failure)?;
        assert_eq!(content.len() as u64, offset);
        content.extend(data);
        Ok(done(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Result<Status, StatusReply> {
        self.shared.written.lock().unwrap().insert(path, None);
        Ok(done(id))
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status, StatusReply> {
        self.shared.written.lock().unwrap().remove(&path).ok_or(StatusCode::NoSuchFile)?;
        Ok(done(id))
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Result<Status, StatusReply> {
        let mut written = self.shared.written.lock().unwrap();
        if written.contains_key(&to) {
            return Err(StatusCode::Failure.into());
        }
        let content = written.remove(&from).ok_or(StatusCode::NoSuchFile)?;
        written.insert(to, content);
        Ok(done(id))
    }
}
