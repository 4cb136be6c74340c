//! The real Litestream on a real NATS server.

use std::fs;
use std::path::Path;

use super::anywhere::{Anywhere, watched};
use super::lab::{Lab, Process, free_port, wait_for};

const PASSWORD: &str = "lab-password";

/// Makes the bucket, which Litestream does not.
const MAKE_BUCKET: &str = "
import asyncio, sys, nats
async def make():
    connection = await nats.connect(sys.argv[1], user='lab', password=sys.argv[2])
    await connection.jetstream().create_object_store('app')
    await connection.close()
asyncio.run(make())
";

fn server(lab: &Lab, home: &Path) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let config = home.join("nats.conf");
    let text = format!(
        "listen: {address:?}\njetstream {{ store_dir: {:?} }}\nauthorization {{ user: lab, password: {PASSWORD} }}\n",
        home.join("jetstream")
    );
    fs::write(&config, text).unwrap();
    let mut server = Process::spawn(lab.program("py/bin/nats-server").arg("-c").arg(config), home.join("nats.log"));
    server.wait_until_listening(&address);
    let mut make = lab.program("py/bin/python");
    let made = make.args(["-c", MAKE_BUCKET, &format!("nats://{address}"), PASSWORD]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (server, address)
}

/// A server that stops as well is told, and found again by itself.
pub fn from_lag_to_restore(lab: &Lab, home: &Path) {
    let (mut server, address) = server(lab, home);
    let replica = format!("url: \"nats://{address}/app\", username: lab, password: {PASSWORD}");
    let place =
        Anywhere { replica: &replica, secret: Some(PASSWORD), options: "timeout = \"3s\"\n", ..Default::default() };
    watched(lab, home, &place, "app", "0.5.17", |agent, site| {
        server.freeze();
        wait_for("the outage to be told", || site.seen(agent).get("replica_up") == Some(0.0));
        server.thaw();
        site.wait_until_in_sync(agent);
        assert!(server.is_running());
    });
}
