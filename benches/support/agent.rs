//! `streamgauge run`, as it is shipped, with a configuration of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flate2::read::GzDecoder;

use super::Outcome;

const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

/// The program, at work.
pub struct Agent {
    pub program: String,
    pub child: Child,
    pub address: String,
}

impl Agent {
    /// Starts the one at this place below `root` with that configuration; several have a place each.
    pub fn start(root: &Path, config: &str, place: usize, program: &str) -> Outcome<Self> {
        let file = root.join("streamgauge.toml");
        std::fs::write(&file, config)?;
        // Taken and given back: nobody else here asks for one.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = Command::new(program)
            // As the service and the image have it.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .args(["run", "--log.level", "error", "--web.listen-address", &address, "--config.file"])
            .arg(&file)
            .arg("--storage.path")
            .arg(root.join(format!("storage-{place}")))
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { program: program.to_owned(), child, address })
    }

    /// Seconds of CPU time that it has used.
    pub fn cpu(&self) -> Outcome<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / CLOCK_TICKS_PER_SECOND)
    }

    /// What is resident now and was at most, in MB.
    pub fn memory(&self) -> Outcome<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let read = |name: &str| -> Outcome<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
            Ok(line.trim_end_matches("kB").trim().parse::<f64>()? * 1024.0 / 1e6)
        };
        Ok(format!("{:.0} / {:.0}", read("VmRSS:")?, read("VmHWM:")?))
    }

    /// Asks as Prometheus does, without looking into the answer.
    pub fn get(&self, path: &str) -> Outcome<Vec<u8>> {
        get(&self.address, path)
    }

    /// What a scrape says, and how many bytes were sent.
    pub fn metrics(&self) -> Outcome<(String, usize)> {
        let packed = self.get("/metrics")?;
        let mut text = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
        Ok((text, packed.len()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks an agent as Prometheus does; what it sends, which is packed where that makes it shorter.
///
/// # Errors
///
/// Nothing answers, or says anything but 200.
pub fn get(address: &str, path: &str) -> Outcome<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\
         Accept: application/openmetrics-text;version=1.0.0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")? + 4;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err("the agent has no answer".into());
    }
    Ok(answer.split_off(head))
}
