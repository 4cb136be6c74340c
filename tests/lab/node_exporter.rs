//! The real node_exporter.

use std::path::Path;

use super::{Lab, Process, free_port, http};

/// The folders of the lab that hold a node_exporter: 1.5, and a current one.
pub const NODE_EXPORTER: [&str; 2] = ["node_exporter-1.5", "node_exporter-1"];

pub struct NodeExporter {
    pub process: Process,
    pub address: String,
}

impl Lab {
    /// Starts one of [`NODE_EXPORTER`], which serves itself and the `*.prom` in `directory`.
    pub fn node_exporter(&self, version: &str, directory: &Path, log: &Path) -> NodeExporter {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = self.program(format!("{version}/usr/bin/prometheus-node-exporter"));
        command
            .args(["--collector.disable-defaults", "--collector.textfile"])
            .arg(format!("--collector.textfile.directory={}", directory.display()))
            .arg(format!("--web.listen-address={address}"));
        let mut process = Process::spawn(&mut command, log.to_owned());
        process.wait_until_listening(&address);
        NodeExporter { process, address }
    }
}

impl NodeExporter {
    /// All of `/metrics`, as text.
    pub fn metrics(&self) -> String {
        let answer = http::get(&self.address, "/metrics", &[("Accept", "text/plain;version=0.0.4")]).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }
}
