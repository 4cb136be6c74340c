//! The programs at the other end do what the other tests take for granted.

use crate::lab::alertmanager::{ALERTMANAGER, webhook_yaml};
use crate::lab::recorder::Recorder;
use crate::lab::{Lab, http, wait_for};

#[test]
fn alertmanager_tells_its_webhook_what_it_is_told() {
    let lab = Lab::find();
    for version in ALERTMANAGER {
        let home = tempfile::tempdir().unwrap();
        let hook = Recorder::start();
        let alertmanager = lab.alertmanager(version, home.path(), &webhook_yaml(&hook.url("/page")), &[]);
        alertmanager.wait_until_ready();
        let alert = br#"[{"labels": {"alertname": "ReplicationLag", "database": "shop"}}]"#;
        let json = [("Content-Type", "application/json")];
        let told = http::request("POST", &alertmanager.address, "/api/v2/alerts", &json, alert).unwrap();
        assert_eq!(told.status, 200, "{version}: {}", told.text());
        assert_eq!(alertmanager.alerts().len(), 1);
        wait_for("the page", || hook.requests().iter().any(|page| page.path == "/page"));
        let page = hook.requests()[0].json();
        assert_eq!(page["alerts"][0]["labels"]["database"], "shop", "{version}: {page}");
    }
}
