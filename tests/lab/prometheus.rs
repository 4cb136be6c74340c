//! The real Prometheus and promtool.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Lab, Process, free_port, http, wait_for};

/// The folders of the lab that hold a Prometheus.
pub const PROMETHEUS: [&str; 2] = ["prometheus-2.42", "prometheus-3"];

pub struct Prometheus {
    pub process: Process,
    pub address: String,
}

impl Lab {
    pub fn promtool(&self, version: &str) -> Command {
        self.program(format!("{version}/usr/bin/promtool"))
    }

    /// Starts one of [`PROMETHEUS`] with this configuration, which is written to `directory`, and waits until it is ready.
    pub fn prometheus(&self, version: &str, directory: &Path, yaml: &str) -> Prometheus {
        self.prometheus_with(version, directory, yaml, &[])
    }

    /// As [`Lab::prometheus`], with more arguments.
    pub fn prometheus_with(&self, version: &str, directory: &Path, yaml: &str, arguments: &[&str]) -> Prometheus {
        let config = directory.join(format!("{version}.yml"));
        fs::write(&config, yaml).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = self.program(format!("{version}/usr/bin/prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join(format!("{version}-data")).display()))
            .arg(format!("--web.listen-address={address}"))
            .args(arguments);
        let mut process = Process::spawn(&mut command, directory.join(format!("{version}.log")));
        process.wait_until_listening(&address);
        wait_for("Prometheus to be ready", || {
            http::get(&address, "/-/ready", &[]).is_ok_and(|ready| ready.status == 200)
        });
        Prometheus { process, address }
    }
}

/// A configuration that scrapes one address each second.
pub fn scrape_yaml(address: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         scrape_configs:\n  - job_name: streamgauge\n    static_configs: [{{targets: [\"{address}\"]}}]\n"
    )
}

impl Prometheus {
    /// The `data` of an API answer, such as of `/api/v1/targets`.
    pub fn api(&self, path: &str) -> serde_json::Value {
        let answer = http::get(&self.address, path, &[]).unwrap().json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The result of an instant query: objects with `metric` and `value`.
    pub fn query(&self, promql: &str) -> Vec<serde_json::Value> {
        let data = self.api(&format!("/api/v1/query?query={}", http::encode(promql)));
        data["result"].as_array().cloned().unwrap_or_default()
    }

    /// The result of a query over the last minutes: objects with `metric` and `values`.
    pub fn query_range(&self, promql: &str) -> Vec<serde_json::Value> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let query = http::encode(promql);
        let data = self.api(&format!("/api/v1/query_range?query={query}&start={}&end={now}&step=5", now - 300));
        data["result"].as_array().cloned().unwrap_or_default()
    }

    /// The value of a query that has exactly one.
    pub fn value(&self, promql: &str) -> Option<f64> {
        match self.query(promql).as_slice() {
            [one] => one["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }
}
