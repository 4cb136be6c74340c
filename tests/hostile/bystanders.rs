//! What may be beside databases that are well: files that are none, configurations that come and go, and clients that only want
//! to be in the way.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::lab::command;

/// Files that are called databases, and replicas that hold what no Litestream wrote.
pub(crate) fn garbage(home: &Path) -> String {
    let mut toml = String::new();
    let mut entry = |name: &str, make: &dyn Fn(&Path)| {
        let path = home.join(name);
        make(&path);
        let replica = home.join(format!("{name}-replica/ltx/0"));
        fs::create_dir_all(&replica).unwrap();
        for name in [
            "0000000000000001-0000000000000001.ltx",
            "0000000000000002-ffffffffffffffff.ltx",
            "ffffffffffffffff-0000000000000001.ltx",
            "\u{1b}[2J.ltx",
        ] {
            fs::write(replica.join(name), name.repeat(9)).unwrap();
        }
        let url = format!("file://{}", home.join(format!("{name}-replica")).display());
        writeln!(toml, "[[database]]\nname = \"bad-{name}\"\npath = {path:?}\n[[database.replica]]\nurl = {url:?}")
            .unwrap();
    };
    entry("empty", &|path| fs::write(path, "").unwrap());
    entry("noise", &|path| fs::write(path, [0xa5; 9000]).unwrap());
    entry("folder", &|path| fs::create_dir(path).unwrap());
    entry("link", &|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap());
    entry("pipe", &|path| assert!(command("mkfifo").arg(path).status().unwrap().success()));
    entry("gone", &|_| {});
    entry("sparse", &|path| {
        let file = fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    });
    toml
}

/// Whoever wants to be in the way, until it is over.
pub(crate) fn strangers(address: &str, over: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<()>> {
    let one = |work: fn(&str)| {
        let (address, over) = (address.to_owned(), Arc::clone(over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                work(&address);
            }
        })
    };
    let silent = |address: &str| {
        let held: Vec<_> = (0..500).filter_map(|_| TcpStream::connect(address).ok()).collect();
        thread::sleep(Duration::from_secs(5));
        drop(held);
    };
    let chatty = |address: &str| {
        let mut held: Vec<_> = (0..64).filter_map(|_| TcpStream::connect(address).ok()).collect();
        for stream in &mut held {
            let _ = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 256]);
        }
        thread::sleep(Duration::from_secs(2));
    };
    let reloading = |address: &str| {
        let _ = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(
                b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
        });
        thread::sleep(Duration::from_millis(20));
    };
    vec![one(silent), one(chatty), one(reloading)]
}

/// The second `litestream.yml` is a pipe, empty, broken or well, in turn.
pub(crate) fn turn(path: &Path, good: &str, number: u64) {
    let _ = fs::remove_file(path);
    match number % 4 {
        0 => fs::write(path, good).unwrap(),
        1 => fs::write(path, "").unwrap(),
        2 => assert!(command("mkfifo").arg(path).status().unwrap().success()),
        _ => fs::write(path, "dbs: [{path: '${").unwrap(),
    }
}
