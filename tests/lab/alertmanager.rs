//! The real Alertmanager.

use std::fs;
use std::path::Path;

use super::{Lab, Process, command, free_port, http, wait_for};

/// The folders of the lab that hold an Alertmanager: 0.25, and a current one.
pub const ALERTMANAGER: [&str; 2] = ["prometheus-2.42", "prometheus-3"];

pub struct Alertmanager {
    pub process: Process,
    pub address: String,
}

impl Lab {
    /// Starts one of [`ALERTMANAGER`] with this configuration, which is written to `directory`, and waits until it is
    /// ready. Its data stay in `directory`, so that a second start goes on where the first one ended.
    pub fn alertmanager(&self, version: &str, directory: &Path, yaml: &str, arguments: &[&str]) -> Alertmanager {
        self.alertmanager_at(&format!("127.0.0.1:{}", free_port()), version, directory, yaml, arguments)
    }

    /// As [`Lab::alertmanager`], at this address.
    pub fn alertmanager_at(
        &self,
        address: &str,
        version: &str,
        directory: &Path,
        yaml: &str,
        arguments: &[&str],
    ) -> Alertmanager {
        let config = directory.join(format!("{version}-alertmanager.yml"));
        fs::write(&config, yaml).unwrap();
        // Debian's build reads /usr/share/prometheus/alertmanager/default.tmpl, which is in the lab and not installed: it
        // is laid over /usr/share in a namespace of its own.
        let inside = "mount -t overlay none -o lowerdir=\"$0/usr/share:/usr/share\" /usr/share && \
                      exec \"$0/usr/bin/prometheus-alertmanager\" \"$@\"";
        let mut unshare = command("unshare");
        unshare
            .args(["--map-root-user", "--mount", "sh", "-c", inside])
            .arg(self.root.join(version))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.join(format!("{version}-alertmanager")).display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .args(arguments);
        let mut process = Process::spawn(&mut unshare, directory.join(format!("{version}-alertmanager.log")));
        process.wait_until_listening(address);
        Alertmanager { process, address: address.to_owned() }
    }
}

/// A configuration that tells one webhook, without waiting, of everything, each alert by itself.
pub fn webhook_yaml(url: &str) -> String {
    format!(
        "route: {{receiver: hook, group_by: [\"...\"], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}\n\
         receivers:\n  - name: hook\n    webhook_configs: [{{url: \"{url}\", send_resolved: true}}]\n"
    )
}

impl Alertmanager {
    pub fn wait_until_ready(&self) {
        wait_for("Alertmanager to be ready", || {
            http::get(&self.address, "/-/ready", &[]).is_ok_and(|ready| ready.status == 200)
        });
    }

    /// What `/api/v2/alerts` lists: alerts that have not ended.
    pub fn alerts(&self) -> Vec<serde_json::Value> {
        let answer = http::get(&self.address, "/api/v2/alerts", &[]).unwrap().json();
        answer.as_array().cloned().unwrap_or_default()
    }
}
