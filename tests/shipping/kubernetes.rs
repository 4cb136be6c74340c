//! The Helm chart and the Kustomize component, rendered and held to the schemas of Kubernetes, and what is rendered started.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::image::IMAGE;
use crate::lab::certificates::Certificate;
use crate::lab::{Lab, Process, free_port, http, wait_for};
use crate::{output, root};

/// What kubernetes.py prints.
fn rendered(case: Option<&str>) -> String {
    let lab = Lab::find();
    let mut python = lab.program("ship/bin/python");
    python.arg(root().join("tests/shipping/kubernetes.py")).arg(root()).arg(lab.path("kubectl/usr/bin/kubectl"));
    output(python.args(case))
}

#[test]
fn what_is_rendered_is_valid() {
    assert!(rendered(None).contains("are valid"));
}

/// A Secret as files, as a volume has it.
fn secret(directory: &Path, data: &[(&str, &str)]) {
    fs::create_dir_all(directory).unwrap();
    for (key, text) in data {
        fs::write(directory.join(key), text).unwrap();
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// With certificates for both sides and a password: its probes get in, Prometheus does as the PodMonitor says, and nobody else.
#[test]
fn what_is_rendered_with_a_web_configuration_is_probed_and_scraped() {
    let (image, home, lab) = (&*IMAGE, tempfile::tempdir().unwrap(), Lab::find());
    let path = |name: &str| home.path().join(name);
    let documents: Vec<Value> = serde_json::from_str(&rendered(Some("secured"))).unwrap();
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    let endpoint = &of("PodMonitor")["spec"]["podMetricsEndpoints"][0];
    let tls = &endpoint["tlsConfig"];

    // The Secrets: that of the chart, and those that are there already.
    secret(&path("config"), &[("streamgauge.toml", of("Secret")["stringData"]["streamgauge.toml"].as_str().unwrap())]);
    let authority = Certificate::authority(home.path(), "ca");
    let server = authority.sign(home.path(), "server", &format!("DNS:{}", tls["serverName"].as_str().unwrap()));
    let scraper = authority.sign(home.path(), "scraper", "DNS:prometheus");
    let ca = read(&authority.certificate);
    let web = format!(
        "tls_server_config: {{cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt, \
         client_auth_type: RequireAndVerifyClientCert}}\nbasic_auth_users: {{prometheus: {:?}}}\n",
        bcrypt::hash("geheim", 4).unwrap()
    );
    let (certificate, key) = (read(&server.certificate), read(&server.key));
    secret(&path("web"), &[("web.yml", &web), ("tls.crt", &certificate), ("tls.key", &key), ("ca.crt", &ca)]);
    let (certificate, key) = (read(&scraper.certificate), read(&scraper.key));
    let files = [("ca.pem", &*ca), ("scraper.pem", &certificate), ("scraper.key", &key)];
    secret(&path("scraper"), &[&files[..], &[("username", "prometheus"), ("password", "geheim")]].concat());

    let container = &of("StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_array().unwrap().iter().map(|mount| {
        let directory = path(mount["name"].as_str().unwrap());
        fs::create_dir_all(&directory).unwrap();
        let options = if mount["readOnly"] == true { ":ro" } else { "" };
        format!("{}:{}{options}", directory.display(), mount["mountPath"].as_str().unwrap())
    });
    let mounts: Vec<String> = mounts.collect();
    let address = format!("127.0.0.1:{}", free_port());
    // A pod has an address of its own; this machine has other tests on it.
    let words = |list: &Value| -> Vec<String> {
        let words = list.as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        words.map(|word| word.replace("=:10099", &format!("={address}"))).collect()
    };
    let mut agent = Process::spawn(image.command(&mounts, &[]).args(words(&container["args"])), path("agent.log"));
    agent.wait_until_listening(&address);
    let probe = |name: &str| {
        let command = words(&container[name]["exec"]["command"]);
        assert_eq!(command[0], image.config["Entrypoint"][0]);
        image.command(&mounts, &[]).args(&command[1..]).output().unwrap()
    };
    wait_for("the start", || probe("startupProbe").status.success());
    assert!(probe("livenessProbe").status.success(), "{:?}", probe("livenessProbe"));
    wait_for("the first look", || probe("readinessProbe").stdout == b"streamgauge is ready\n");
    assert!(http::get(&address, "/-/healthy", &[]).is_err(), "without TLS");

    let file = |key: &Value| path("scraper").join(key["key"].as_str().unwrap());
    let snake = [("sourceLabels", "source_labels"), ("targetLabel", "target_label")];
    let relabelings = endpoint["relabelings"].to_string();
    let relabelings = snake.iter().fold(relabelings, |text, (camel, snake)| text.replace(camel, snake));
    let scrape = |password: &Path| {
        json!({
            "job_name": "backups/watch-streamgauge", "scrape_interval": "1s", "scheme": endpoint["scheme"],
            "tls_config": {
                "ca_file": file(&tls["ca"]["secret"]), "cert_file": file(&tls["cert"]["secret"]),
                "key_file": file(&tls["keySecret"]), "server_name": tls["serverName"],
            },
            "basic_auth": { "username": read(&file(&endpoint["basicAuth"]["username"])), "password_file": password },
            "static_configs": [{ "targets": [address], "labels": { "__meta_kubernetes_pod_name": "watch-streamgauge-0" } }],
            "relabel_configs": serde_json::from_str::<Value>(&relabelings).unwrap(),
        })
    };
    let mut stranger = scrape(&path("scraper").join("username"));
    stranger["job_name"] = "stranger".into();
    stranger["relabel_configs"] = json!([]);
    let configuration = json!({ "scrape_configs": [scrape(&file(&endpoint["basicAuth"]["password"])), stranger] });
    let prometheus = lab.prometheus("prometheus-3", home.path(), &configuration.to_string());
    let up = "up{job=\"streamgauge\",instance=\"watch-streamgauge-0:10099\"}";
    wait_for("a scrape", || prometheus.value(up) == Some(1.0));
    wait_for("a scrape with a wrong password", || prometheus.value("up{job=\"stranger\"}") == Some(0.0));

    // A probe that goes on after the agent has ended would be none.
    agent.stop();
    assert!(!probe("livenessProbe").status.success());
}
