//! Replicas in Azure Blob Storage, by Azurite.

use std::path::Path;
use std::thread;

use super::azurite::{ACCOUNT, KEY, azurite, endpoint, signed};
use super::clouds::{Cloud, watched};
use super::lab::{Lab, Process, free_port, http};

pub fn every_version(lab: &Lab, home: &Path) {
    let port = free_port();
    let mut command = azurite(&lab.path("azurite/node_modules/.bin/azurite-blob"), port, home);
    let mut server = Process::spawn(&mut command, home.join("azurite.log"));
    let address = format!("127.0.0.1:{port}");
    server.wait_until_listening(&address);
    let request = signed(port, "PUT", "box?restype=container", &[], 0);
    let headers: Vec<_> = request.headers().iter().filter(|(name, _)| *name != "content-length").collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let target = request.uri().path_and_query().unwrap().as_str();
    let made = http::request("PUT", &address, target, &headers, b"").unwrap();
    assert_eq!(made.status, 201, "{}", made.text());

    thread::scope(|scope| {
        for (name, version) in [("new", "0.5.17"), ("old", "0.3.13")] {
            scope.spawn(move || {
                // One has its key in the file, the other one in the environment.
                let in_file = if name == "new" { format!(", account-key: \"{KEY}\"") } else { String::new() };
                let replica = format!(
                    "type: abs, bucket: box, path: {name}, endpoint: \"{}\", account-name: {ACCOUNT}{in_file}",
                    endpoint(port)
                );
                let environment = [("LITESTREAM_AZURE_ACCOUNT_KEY", KEY)];
                let environment = if name == "new" { &environment[..0] } else { &environment[..] };
                watched(lab, home, &Cloud { replica: &replica, environment }, name, version);
            });
        }
    });
}
