//! SFTP as two real servers speak it, and as none should.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamgauge::domain::litestream::{Layout, LevelKeys};
use streamgauge::domain::places::SftpLocation;
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::infrastructure::store::Stores;
use streamgauge::usecase::ports::Stores as _;
use streamgauge::usecase::ports::{Content, ReplicaStore};

use crate::directory::Files;
use crate::port::free_port;
use crate::proxy::{After, End, Proxy, Way};
use crate::servers::{Server, in_lab};
use crate::sftp_lies::Liar;
use crate::sftp_servers::{self as real, CLIENT, HOST, PASSWORD, STRANGER, USER};
use crate::suite::{self, Backend, names};
use crate::{LEVEL, NAME, ltx_name, read, stores, told};

fn lab() -> std::path::PathBuf {
    in_lab("")
}

fn start_rclone() -> Server {
    Server::start(|port, directory| {
        let data = directory.join("data");
        std::fs::create_dir(&data).unwrap();
        let mut command = real::rclone(&lab(), directory, &data, port);
        // It caches what it saw in a directory, and tests write there.
        command.args(["--dir-cache-time", "0s"]);
        command
    })
}

/// Its directory holds the client's key as well.
fn start_openssh() -> Server {
    let server = Server::start(|port, directory| real::openssh(&lab(), directory, port));
    real::write_key(CLIENT, &server.directory().join("client_key"));
    server
}

/// A path on rclone's server, whose key is checked.
fn by_password(port: u16, path: &str) -> SftpLocation {
    SftpLocation {
        host: format!("127.0.0.1:{port}"),
        user: USER.to_owned(),
        path: path.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        key_path: None,
        host_key: Some(real::line(&real::key(HOST))),
    }
}

/// A path on OpenSSH's server, which nothing says the key of: any server is trusted.
fn by_key(server: &Server, path: &str) -> SftpLocation {
    SftpLocation {
        host: format!("127.0.0.1:{}", server.port),
        user: real::user(),
        path: path.to_owned(),
        password: None,
        key_path: Some(server.directory().join("client_key")),
        host_key: None,
    }
}

fn at(place: SftpLocation) -> ReplicaLocation {
    ReplicaLocation::Sftp(Box::new(place))
}

fn open(stores: &Stores, place: SftpLocation) -> Arc<dyn ReplicaStore> {
    stores.open(&at(place)).unwrap()
}

fn served(server: Server, place: SftpLocation) -> Box<dyn Backend> {
    let root = server.directory().join("data/app");
    std::fs::create_dir(&root).unwrap();
    let store = open(&stores(Duration::from_secs(60)), place.clone());
    Box::new(Files { root, location: at(place), store, keys: LevelKeys::Plain, kept: Box::new(server) })
}

pub(crate) async fn rclone() -> Box<dyn Backend> {
    let server = start_rclone();
    let place = by_password(server.port, "/app");
    served(server, place)
}

pub(crate) async fn openssh() -> Box<dyn Backend> {
    let server = start_openssh();
    let place = by_key(&server, "app");
    served(server, place)
}

async fn refused(stores: &Stores, place: SftpLocation) -> Reason {
    let asked = Instant::now();
    let reason = match stores.open(&at(place)) {
        Ok(store) => store.layouts().await.unwrap_err(),
        Err(reason) => reason,
    };
    assert!(asked.elapsed() < Duration::from_secs(20), "{reason}");
    let (message, hint) = (&reason.message, reason.hint.as_deref().unwrap_or_default());
    assert!(!format!("{reason:?} {message} {hint}").contains("geheim"), "{reason:?}");
    reason
}

#[tokio::test]
async fn what_a_directory_can_hold_does_not_lead_astray() {
    let server = start_openssh();
    let data = server.directory().join("data");
    let replica = data.join("db1");
    for (path, content) in [
        ("db1/ltx/0/0000000000000001-0000000000000001.ltx", "db1"),
        ("db10/ltx/0/0000000000000002-0000000000000002.ltx", "db10"),
        ("outside/0/0000000000000007-0000000000000007.ltx", "outside"),
    ] {
        std::fs::create_dir_all(data.join(path).parent().unwrap()).unwrap();
        std::fs::write(data.join(path), content).unwrap();
    }
    // Links, to a file, to a directory above, in a circle; a pipe that nobody writes to; an empty folder; no name in UTF-8.
    let level = replica.join("ltx/0");
    use std::os::unix::ffi::OsStrExt as _;
    std::os::unix::fs::symlink(data.join("outside"), replica.join("generations")).unwrap();
    std::os::unix::fs::symlink(
        data.join("outside/0/0000000000000007-0000000000000007.ltx"),
        level.join("0000000000000007-0000000000000007.ltx"),
    )
    .unwrap();
    std::os::unix::fs::symlink("..", replica.join("ltx/1")).unwrap();
    std::os::unix::fs::symlink("loop", level.join("loop")).unwrap();
    let fifo = level.join("0000000000000008-0000000000000008.ltx");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    std::fs::create_dir(replica.join("ltx/2")).unwrap();
    std::fs::write(level.join(std::ffi::OsStr::from_bytes(b"\xff.ltx")), "").unwrap();
    std::fs::write(level.join("0000000000000009-0000000000000009.ltx.99.123.tmp"), "half").unwrap();
    std::os::unix::fs::symlink("db1", data.join("link")).unwrap();

    let stores = stores(Duration::from_secs(60));
    // The root itself may be a link.
    for path in ["db1", "link", "./x/../db1/", data.join("db1").to_str().unwrap()] {
        let store = open(&stores, by_key(&server, path));
        let layout = Layout::V5(LevelKeys::Plain);
        assert_eq!(store.layouts().await.unwrap(), [layout], "{path}");
        assert_eq!(store.folders(layout).await.unwrap(), [LEVEL], "{path}");
        let odd = "ltx/0/0000000000000009-0000000000000009.ltx.99.123.tmp".to_owned();
        assert_eq!(names(&*store, LEVEL, None).await, (vec![ltx_name(1)], vec![odd]), "{path}");
        assert_eq!(read(&*store, ltx_name(1), 0, 10).await.unwrap(), "db1");
        for name in [ltx_name(2), ltx_name(7), ltx_name(8)] {
            assert!(matches!(store.read(name, 0, 9).await.unwrap(), Content::Missing(_)), "{path} {name}");
        }
    }
    // As in a bucket, there is nothing below a prefix without objects.
    for path in ["missing", "db1/missing/too"] {
        let store = open(&stores, by_key(&server, path));
        assert_eq!(store.layouts().await.unwrap(), [], "{path}");
        assert_eq!(names(&*store, LEVEL, None).await, (Vec::new(), Vec::new()), "{path}");
        assert!(matches!(store.read(NAME, 0, 1).await.unwrap(), Content::Missing(_)), "{path}");
    }
    // Neither a file is an empty replica nor what a link means that leads nowhere.
    std::os::unix::fs::symlink("not-mounted", data.join("lost")).unwrap();
    for path in ["lost", "lost/db1", "db1/ltx/0/0000000000000001-0000000000000001.ltx"] {
        let store = open(&stores, by_key(&server, path));
        let url = format!("sftp://127.0.0.1:{}/~/{path}", server.port);
        let list = told(store.list(LEVEL, None, None).await.unwrap_err());
        assert_eq!(list, format!("not_found: list {url}/ltx/0/: no such directory"));
        assert_eq!(told(store.layouts().await.unwrap_err()), format!("not_found: list {url}/: no such directory"));
        assert_eq!(store.read(NAME, 0, 1).await.unwrap_err().kind, ReasonKind::NotFound);
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&level, PermissionsExt::from_mode(0o000)).unwrap();
    let reason = told(open(&stores, by_key(&server, "db1")).list(LEVEL, None, None).await.unwrap_err());
    assert!(
        reason.starts_with("denied: list ") && reason.contains("permission denied | let the login's user"),
        "{reason}"
    );
    // It goes away with its owner's rights.
    std::fs::set_permissions(&level, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_files_are_one_page_and_bounded_in_time() {
    let server = start_openssh();
    let level = server.directory().join("data/app/ltx/0");
    std::fs::create_dir_all(&level).unwrap();
    let file = |txid| level.join(LEVEL_FILE.replace('#', &format!("{txid:016x}")));
    for first in (1..=100_000).step_by(10_000) {
        std::fs::write(file(first), "x").unwrap();
        (first + 1..first + 10_000).for_each(|txid| std::fs::hard_link(file(first), file(txid)).unwrap());
    }
    let stores = stores(Duration::from_secs(60));
    let store = open(&stores, by_key(&server, "app"));
    let asked = Instant::now();
    let page = store.list(LEVEL, None, None).await.unwrap();
    assert_eq!((page.objects.len(), page.next.is_some()), (100_000, false));
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert_eq!(names(&*store, LEVEL, Some(ltx_name(99_990))).await.0.len(), 11);
    // One more than a page holds.
    std::fs::write(file(100_001), "x").unwrap();
    let page = store.list(LEVEL, None, None).await.unwrap();
    assert_eq!(page.objects.last().unwrap().name, ltx_name(100_000));
    let page = store.list(LEVEL, None, page.next.as_ref()).await.unwrap();
    assert_eq!((page.objects[0].name, page.objects.len(), page.next.is_some()), (ltx_name(100_001), 1, false));
    // Whoever has no time is told.
    let hasty = crate::stores(Duration::from_millis(150));
    let store = open(&hasty, by_key(&server, "app"));
    let reason = store.list(LEVEL, None, None).await.unwrap_err();
    assert_eq!(reason.kind, ReasonKind::Timeout, "{reason}");
}

const LEVEL_FILE: &str = "#-#.ltx";

#[tokio::test]
async fn who_is_not_let_in_learns_why() {
    let (rclone, openssh) = (start_rclone(), start_openssh());
    let keys = openssh.directory();
    let encrypted = keys.join("encrypted");
    std::fs::write(&encrypted, ENCRYPTED_KEY).unwrap();
    real::write_key(STRANGER, &keys.join("stranger_key"));
    let (password, key) = (by_password(rclone.port, "/"), by_key(&openssh, ""));
    let host_key = |key: u8| Some(real::line(&real::key(key)));
    let with_key = |path: &str| SftpLocation { key_path: Some(keys.join(path)), ..key.clone() };
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let web = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let web_address = web.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = web.accept().unwrap();
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut client, &mut std::io::sink()).ok();
    });
    let elsewhere = |address: std::net::SocketAddr| SftpLocation { host: address.to_string(), ..password.clone() };
    for (what, place, expected) in [
        (
            "wrong password",
            SftpLocation { password: Some(Secret::new("geheim")), ..password.clone() },
            "denied: |does not let user lab in|check user, password and key-path",
        ),
        ("no password", SftpLocation { password: None, ..password.clone() }, "denied: |does not let user lab in"),
        ("wrong key", with_key("stranger_key"), "denied: |it takes publickey"),
        ("no key", with_key("missing"), "not_found: |read |missing: no such file"),
        ("encrypted key", with_key("encrypted"), "misconfigured: |the key is encrypted"),
        ("no key at all", with_key("sshd_config"), "misconfigured: |not a private key"),
        (
            "wrong host key",
            SftpLocation { host_key: host_key(STRANGER), ..password.clone() },
            "unreachable: |shows the key ssh-ed25519 SHA256:|host-key is ssh-ed25519 SHA256:|ask the server's operator",
        ),
        (
            "host key of another algorithm",
            SftpLocation { host_key: Some(RSA_KEY.to_owned()), ..key.clone() },
            "unreachable: |shows the key ssh-ed25519 SHA256:|host-key is ssh-rsa SHA256:",
        ),
        (
            "no host key",
            SftpLocation { host_key: Some("geheim".to_owned()), ..key.clone() },
            "misconfigured: |open sftp://",
        ),
        ("nobody", elsewhere(nobody), "unreachable: |connection refused"),
        ("silence", elsewhere(silent.local_addr().unwrap()), "timeout: |no login within 1.5 s"),
        ("web server", elsewhere(web_address), "unreachable: |closed the connection"),
        ("no such host", SftpLocation { host: "nowhere.invalid".into(), ..password.clone() }, "unreachable: "),
    ] {
        let reason = told(refused(&stores(Duration::from_secs(2)), place).await);
        assert!(expected.split('|').all(|part| reason.contains(part)), "{what}: {reason}");
    }
    // The right key is.
    let expected = SftpLocation { host_key: host_key(HOST), ..key.clone() };
    assert_eq!(open(&stores(Duration::from_secs(10)), expected).layouts().await.unwrap(), []);
}

#[tokio::test]
async fn connections_that_break_are_made_anew() {
    let server = start_rclone();
    let file = server.directory().join("data/app").join(NAME.key(LevelKeys::Plain));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let content: Vec<u8> = (0..2_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    for (end, after, kind) in [
        (End::Reset, 0, ReasonKind::Unreachable),
        (End::Reset, 1_000, ReasonKind::Unreachable),
        (End::Reset, 500_000, ReasonKind::Unreachable),
        (End::Hang, 1_000, ReasonKind::Timeout),
        (End::Hang, 500_000, ReasonKind::Timeout),
    ] {
        let proxy = Proxy::start(server.port);
        proxy.set(Way::Ends(After::Each(after), end));
        let store = open(&stores(Duration::from_secs(4)), by_password(proxy.port, "/app"));
        let reason = store.read(NAME, 0, 2_000_000).await.unwrap_err();
        assert_eq!(reason.kind, kind, "{after}: {reason}");
        proxy.set(Way::Open);
        let deadline = Instant::now() + Duration::from_secs(20);
        let read = loop {
            match read(&*store, NAME, 0, 3_000_000).await {
                Ok(read) => break read,
                Err(reason) => {
                    let broken = matches!(reason.kind, ReasonKind::Unreachable | ReasonKind::Timeout);
                    assert!(broken && Instant::now() < deadline, "{after}: {reason}");
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(read == content, "{after}: {} bytes", read.len());
    }
    // A connection that broke while nobody used it costs nobody an answer.
    let proxy = Proxy::start(server.port);
    let stores = stores(Duration::from_secs(10));
    let store = open(&stores, by_password(proxy.port, "/app"));
    assert_eq!(read(&*store, NAME, 0, 2).await.unwrap().len(), 2);
    proxy.set(Way::Open);
    assert_eq!(read(&*store, NAME, 1_999_999, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_lies_is_not_believed() {
    let liar = Liar::start().await;
    let stores = stores(Duration::from_secs(40));
    let place = |path: &str| SftpLocation { user: "me".into(), host_key: None, ..by_password(liar.port, path) };
    // Replicas share a connection while any of them is watched.
    let _watched = open(&stores, place("/short"));
    let list = async |path: &str| {
        let page = open(&stores, place(path)).list(LEVEL, None, None).await;
        page.map(|page| (page.objects.len(), page.odd)).map_err(told)
    };
    for (path, expected) in [
        ("/endless", "unsupported: |a directory of more than 1000000 entries"),
        ("/empty", "corrupt: |neither continues nor ends"),
        ("/long", "corrupt: |a name of 5000 bytes"),
        ("/echo", "failed: |the server says: no [redacted]"),
    ] {
        let reason = list(path).await.unwrap_err();
        assert!(expected.split('|').all(|part| reason.contains(part)), "{path}: {reason}");
    }
    // Good ones beside those that no file can have, one of them twice, in any order.
    assert_eq!(list("/odd").await.unwrap(), (2, vec!["ltx/0/odd one".to_owned()]));
    assert_eq!(list("/untyped").await.unwrap(), (1, Vec::new()), "types that are not said are asked for");
    assert_eq!(read(&*open(&stores, place("/short")), NAME, 0, 10).await.unwrap(), "xxxxx");
    let reason = told(open(&stores, place("/much")).read(NAME, 0, 10).await.unwrap_err());
    assert!(reason.contains("11 bytes where 10 were asked for"), "{reason}");
    // It knows no other way to rename than to a name that is free.
    suite::beacon_is_beside(&at(place("/free"))).await;
    assert_eq!(liar.connections(), 2, "one for each `Stores`, whatever the number of replicas");
    liar.wait_until_closed().await;

    // One call that hangs, and the next ones have another connection.
    let stores = crate::stores(Duration::from_secs(2));
    let hanging = open(&stores, place("/hang"));
    assert_eq!(hanging.list(LEVEL, None, None).await.unwrap_err().kind, ReasonKind::Timeout);
    assert_eq!(read(&*open(&stores, place("/short")), NAME, 0, 10).await.unwrap(), "xxxxx");
    assert_eq!(liar.connections(), 4);
}

/// Of nobody.
const RSA_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCcerbAD5Xod/9VvIXDCeBfSG0ZGEJO9k4P+WBzNWXpNilxza4y+9D8Xl3oTagROtQ8QPywzuZk3gsMk0PDjhBimr5jiWEVT3w9LBjyJOiRBho2zZWUoOpbATWdLrzbTh8922ykq6QLJCMPNYvq9pQeisOY49BI97N8YJrhpvpezq9bPES4BB05/hQSk+mFmFL3SQ7+wqWarVP7RObg5EtuQoq8Y9rjAfg2vnSTpDdFVJ0RbetubjCjBvE8Q22SeyaRQ3KEAfCjROwWjBVsAcZ8KbDPcNsxCdPL6yyeWSu4O11Lmj+1rPFAjxCb1iKHxGqhO1HqbL87qLNb7/17yIYN";
/// With a passphrase.
const ENCRYPTED_KEY: &str = "-----BEGIN OPENSSH PRIVATE \
                             KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAQOE/38y\nH+LrmqWfZTGQzEAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIBGrOJbght4dst/J\ngwRZxdzqjivXQigYQ1xl7if0ic+6AAAAkJP3irZTgN0sZV2RO9ahpHVfza7qZ9Pgc1cnOp\n76IMWIOTygPQhhxuueBABqAKXV+koRI4vv3ijqPmwFsNH0AUkC7YuhK86QHmeeE0L4ldQT\nS0noT6fpzxpNsC5UmoFAoMFI8aRTXzhRh/5M6XNMCoUpJx62wkFf7EctolTxr0aZGVL0vr\n+rhxyUvjuc0gcNCA==\n-----END \
                             OPENSSH PRIVATE KEY-----\n";
