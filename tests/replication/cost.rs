//! What `streamgauge cost` estimates, against the requests of a genuine Litestream as the server counts them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use streamgauge::domain::price::MONTH_SECONDS;

use super::lab::clock::LabClock;
use super::lab::litestream::quick_yaml;
use super::lab::s3::S3;
use super::lab::{self, Lab};
use super::site::BUCKET;

/// The uploads of an estimate may be so far off, and its listings.
const UPLOADS_OFF: f64 = 0.15;
const LISTINGS_OFF: f64 = 0.25;

/// Uploads of level 0, all uploads, and listings so far.
fn counted(moto: &S3) -> [f64; 3] {
    let put = format!("PUT /{BUCKET}/app/");
    let [first, all, lists] = [format!("{put}0000/"), put, format!("GET /{BUCKET}?")].map(|text| moto.requests(&text));
    [first as f64, all as f64, lists as f64]
}

/// The same of an estimate, in so many seconds.
fn estimated(month: &Value, seconds: f64) -> [f64; 3] {
    let of = |part: &str, field: &str| {
        let parts = month["parts"].as_array().unwrap();
        let found = parts.iter().find(|row| row["part"] == part);
        found.map_or(0.0, |row| row[field].as_f64().unwrap() / MONTH_SECONDS * seconds)
    };
    let first = of("uploads", "uploads");
    [first, first + of("compaction", "uploads") + of("snapshots", "uploads"), of("listings", "lists")]
}

pub fn agrees_with_the_server(lab: &Lab, home: &Path) {
    let moto = lab.moto(home);
    moto.create_bucket(BUCKET);
    let database = home.join("app.db");
    let mut writer = lab.writer(&database);
    writer.create_table();
    let litestream = lab.replicate("0.5.17", home, &quick_yaml("0.5.17", &database, &moto.replica(BUCKET, "app")));
    writer.run(Duration::from_millis(50));
    lab::wait_for("a snapshot", || moto.requests(&format!("PUT /{BUCKET}/app/0009/")) > 0);
    thread::sleep(Duration::from_secs(3));
    let (before, began) = (counted(&moto), Instant::now());
    thread::sleep(Duration::from_secs(36));
    let (after, seconds) = (counted(&moto), began.elapsed().as_secs_f64());

    let cost = |clock: Option<LabClock>| -> Value {
        let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
        if let Some(clock) = clock {
            clock.give(&mut command);
        }
        command.env_remove("LITESTREAM_CONFIG").args(["cost", "--litestream.config"]).arg(&litestream.config);
        let asked = ["--format=json", "--what-if", "store=wasabi", "--what-if", "monitor-interval=3s"];
        let output = command.args(asked).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "the prices of 127.0.0.1 are unknown: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let answer = cost(None);
    let replica = &answer["replicas"][0];
    let (now, then) = (estimated(&replica["now"], seconds), estimated(&replica["then"], seconds));
    let truth: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    for (index, off) in [UPLOADS_OFF, UPLOADS_OFF, LISTINGS_OFF].into_iter().enumerate() {
        let ratio = now[index] / truth[index];
        assert!((1.0 - off..1.0 + off).contains(&ratio), "{now:?} estimated, {truth:?} counted\n{answer:#}");
    }
    // One file for each three seconds, in the place of ten.
    assert!((then[0] * 3.0 / seconds - 1.0).abs() < 0.1, "{then:?} {answer:#}");
    assert_eq!(replica["now"]["dollars_per_month"], Value::Null);
    let early = &replica["then"]["early_deletion"];
    assert_eq!(early["billed_days"], 90.0, "{answer:#}");
    // Of the level from which most are deleted: as many come to level 0 as to level 1 then, kept for 5 or for 55 seconds.
    assert!([5.0, 55.0].map(Value::from).contains(&early["lifetime_seconds"]), "{answer:#}");
    assert!(early["dollars_per_month"].as_f64() > Some(0.0), "{answer:#}");
    // Its own requests are those that the server got since: listings, and nothing else.
    assert!(replica["requests"].as_u64().is_some_and(|requests| (2..=9).contains(&requests)), "{answer:#}");
    assert!(!replica["notes"].to_string().contains("at rest"), "{answer:#}");

    // A day after the last commit, it is looked at each five minutes and listed four times a day.
    let answer = cost(Some(LabClock::new(home, 26 * 3600)));
    let replica = &answer["replicas"][0];
    assert!(replica["notes"].to_string().contains("it is at rest"), "{answer:#}");
    let looks = replica["now"]["parts"].as_array().unwrap().iter().find(|row| row["part"] == "looks").unwrap();
    let days = MONTH_SECONDS / 86_400.0;
    assert!((looks["reads"].as_f64().unwrap() / days - 576.0).abs() < 1.0, "{looks}");
    assert!((looks["lists"].as_f64().unwrap() / days - 4.0).abs() < 1.0, "{looks}");
}
