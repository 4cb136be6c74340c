//! Drills that the agent runs by itself: what they come to is on its metrics and outlives it.

use std::fs;

use crate::lab::agent::Agent;
use crate::lab::{Lab, wait_for};
use crate::site::{Site, left};

fn start(site: &Site, interval: &str) -> Agent {
    let toml = format!(
        "[litestream]\nconfig = [{:?}]\n[replica]\nidle-interval = \"1s\"\n\
         [drill]\ninterval = \"{interval}\"\nscratch = {:?}\n\
         [[database]]\nname = \"app\"\npath = {:?}\n\
         [[database.probe]]\nname = \"rows\"\nquery = \"SELECT count(*) FROM t\"\nmin = 100\n",
        site.home.path().join("litestream.yml"),
        site.scratch,
        site.database,
    );
    Agent::start_keeping(site.home.path(), &toml, &site.home.path().join("storage"), &[])
}

fn drills(agent: &Agent, result: &str) -> f64 {
    agent.metric("streamgauge_drills_total", &[("database", "app"), ("result", result)]).unwrap_or_default()
}

fn failing(agent: &Agent) -> bool {
    let labels = [("check", "RestoreDrillFailed"), ("status", "fail")];
    agent.metric("streamgauge_check_status", &labels) == Some(1.0)
}

#[test]
fn the_agent_drills_remembers_and_tells() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    let mut agent = start(&site, "1s");
    wait_for("a drill to pass", || drills(&agent, "passed") >= 1.0);
    let of = |agent: &Agent, name: &str| agent.metric(name, &[("database", "app")]);
    assert_eq!(agent.metric("streamgauge_drill_last_result", &[("result", "passed")]), Some(1.0));
    assert_eq!(agent.metric("streamgauge_drill_probe_value", &[("probe", "rows")]), Some(100.0));
    assert!(of(&agent, "streamgauge_drill_last_duration_seconds") > Some(0.0));
    assert!(of(&agent, "streamgauge_drill_last_downloaded_bytes") > Some(0.0));
    assert!(agent.get("/").text().contains("<span class=\"good\">passed</span> "));
    assert!(!failing(&agent));
    assert!(agent.process.stop().success());

    // A day later, as far as this one knows, is too early for another.
    let mut agent = start(&site, "1d");
    agent.wait_until_ready();
    // What a drill that was cancelled may have left is gone when the next agent has started.
    assert_eq!(left(&site.scratch), Vec::<std::path::PathBuf>::new());
    let (passed, success) = (drills(&agent, "passed"), of(&agent, "streamgauge_drill_last_success_timestamp_seconds"));
    assert!(passed >= 1.0 && success.is_some(), "{}", agent.metrics());
    wait_for("the next one to be planned", || of(&agent, "streamgauge_drill_next_timestamp_seconds") > success);
    assert!(agent.process.stop().success());

    // A backup that no longer restores.
    site.writer.commit(1);
    site.sync(&lab, &[]);
    let newest = site.level(0).pop().unwrap();
    let mut content = fs::read(&newest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x20;
    fs::write(&newest, content).unwrap();
    let mut agent = start(&site, "1s");
    wait_for("a drill to fail", || failing(&agent));
    let name = newest.file_name().unwrap().to_str().unwrap();
    let report = agent.report();
    let reason = report["databases"][0]["replicas"][0]["drill"]["last"]["reason"]["message"].as_str().unwrap();
    assert!(reason.contains(name), "{reason}");
    assert!(agent.process.stop().success());

    // Without its state it has forgotten, and nothing else.
    fs::remove_dir_all(site.home.path().join("storage")).unwrap();
    let agent = start(&site, "1d");
    agent.wait_until_ready();
    assert_eq!((drills(&agent, "passed"), drills(&agent, "failed"), failing(&agent)), (0.0, 0.0, false));
}
