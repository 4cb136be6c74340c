//! docker/compose.yml and what it mounts.

use std::path::Path;

use serde_json::Value;

use crate::{generated, root, text, yaml};

/// The services of docker/compose.yml, by name.
pub(crate) fn services() -> serde_json::Map<String, Value> {
    yaml(&text("docker/compose.yml"))[0]["services"].as_object().unwrap().clone()
}

/// A list of strings; none if there is none.
pub(crate) fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_service_says_how_it_is_and_may_do_little() {
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        // A short name, of a version that does not move on by itself.
        let tag = image.split_once(':').map(|(_, tag)| tag);
        assert!(image == "streamgauge" || tag.is_some_and(|tag| tag.contains('.')), "{name}: {image}");
        let host = image.rsplit_once('/').map_or("", |(owner, _)| owner);
        assert!(!host.contains('.'), "{name}: {image} names a registry");
        let reason = service["x-no-healthcheck"].as_str().unwrap_or_default();
        assert!(service["healthcheck"]["test"].is_array() != (reason.len() > 10), "{name} has no healthcheck");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        // What root made is given to the user of the others.
        let capabilities: &[&str] = if name == "owner" { &["CHOWN"] } else { &[] };
        assert_eq!(strings(&service["cap_add"]), capabilities, "{name}");
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to the network: {port}");
        }
    }
}

#[test]
fn what_is_mounted_and_waited_for_exists() {
    let compose = &yaml(&text("docker/compose.yml"))[0];
    for (name, service) in services() {
        for volume in strings(&service["volumes"]) {
            let (from, to) = volume.split_once(':').unwrap();
            let exists = match from.starts_with('.') {
                true => root().join("docker").join(from).exists(),
                false => compose["volumes"].as_object().unwrap().contains_key(from),
            };
            assert!(exists && to.starts_with('/'), "{name} mounts {volume}");
            assert!(!from.starts_with('.') || to.ends_with(":ro"), "{name} can write to {volume}");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let other = &services()[other];
            let healthy = how["condition"] == "service_healthy";
            // The image of streamgauge has one.
            let says = other["healthcheck"].is_object() || other["image"] == "streamgauge";
            assert!(!healthy || says, "{name} waits for {other}, which never says how it is");
        }
    }
}

#[test]
fn alertmanager_has_the_routes_of_the_example() {
    let example = text("alerts/alertmanager.example.yml");
    let body: Vec<&str> = example.lines().skip(2).collect();
    let mut file =
        "# What `streamgauge rules --format alertmanager` prints, with the pager of compose.yml as all three \
                    receivers.\n"
            .to_owned();
    file += &(body.join("\n") + "\n");
    for (host, path) in [("pager", "page"), ("tickets", "ticket"), ("hc-ping", "deadman")] {
        let address = format!("https://{host}.example.com/REPLACE-ME");
        assert!(file.contains(&address), "{address}");
        file = file.replace(&address, &format!("http://pager:8081/{path}"));
    }
    generated("docker/alertmanager/alertmanager.yml", &file);
}

#[test]
fn grafana_finds_its_dashboards_and_their_source() {
    let provisioned = |path: &str| yaml(&text(&format!("docker/grafana/provisioning/{path}")))[0].clone();
    let source = &provisioned("datasources/prometheus.yml")["datasources"][0];
    assert_eq!((&source["uid"], &source["isDefault"]), (&"prometheus".into(), &true.into()));
    assert_eq!(source["url"], "http://prometheus:9090");
    let folder = provisioned("dashboards/streamgauge.yml")["providers"][0]["options"]["path"].clone();
    let grafana = &services()["grafana"];
    let mount = format!("../dashboards:{}:ro", folder.as_str().unwrap());
    assert!(strings(&grafana["volumes"]).contains(&mount), "{mount}");
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    let home = Path::new("dashboards").join(Path::new(home).strip_prefix(folder.as_str().unwrap()).unwrap());
    assert!(root().join(home).exists());
}
