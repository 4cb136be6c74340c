//! Genuine Litestreams that replicate databases to every kind of store at once, and one agent that watches all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::litestream::{Litestream, quick_yaml};
use super::lab::writer::Writer;
use super::lab::{Lab, Process, command, wait, wait_for};
use super::places::{NEW, OLD, Place};
use super::site::{Seen, now, replica_report};
use super::stall::FEW_SECONDS;

/// A database that is replicated to a place.
pub struct Member<'a> {
    pub place: &'a Place,
    /// Kind and version.
    pub name: String,
    pub version: &'static str,
    pub database: PathBuf,
    pub writer: Writer,
}

/// One Litestream with its databases.
pub struct Group<'a> {
    pub members: Vec<Member<'a>>,
    pub litestream: Litestream,
}

impl<'a> Member<'a> {
    /// `None` where that version cannot write.
    pub fn new(lab: &Lab, home: &Path, place: &'a Place, version: &'static str) -> Option<Self> {
        let name = format!("{}-{}", place.kind, if version == NEW { "new" } else { "old" });
        place.replica(version, &name)?;
        let database = home.join(format!("{name}.db"));
        let mut writer = lab.writer(&database);
        writer.create_table();
        Some(Self { place, name, version, database, writer })
    }

    /// Its entry in `litestream.yml`.
    fn replica(&self) -> String {
        self.place.replica(self.version, &self.name).unwrap()
    }

    /// A `litestream.yml` of its own, with its replica or what stands for it.
    pub fn yaml(&self, replica: &str) -> String {
        quick_yaml(self.version, &self.database, replica)
    }
}

/// Waits until something holds of all, with one scrape for all of them each time.
#[track_caller]
fn wait_until(agent: &Agent, members: &[&Member<'_>], what: &str, holds: impl Fn(&Member<'_>, &Seen) -> bool) {
    let mut last = None;
    let held = wait(Duration::from_secs(90), || {
        let text = agent.metrics();
        let seen = members.iter().map(|member| (member, Seen::in_scrape(&text, &member.name)));
        last = seen.into_iter().find(|(member, seen)| !holds(member, seen));
        thread::sleep(Duration::from_millis(150));
        last.is_none()
    });
    if let Some((member, seen)) = last.filter(|_| !held) {
        panic!("{}: waited in vain {what}: {seen:?} {}", member.name, replica_report(agent, &member.name));
    }
}

/// All that was committed before this call.
#[track_caller]
pub fn wait_until_in_sync(agent: &Agent, members: &[&Member<'_>]) {
    let asked = now();
    wait_until(agent, members, "to be in sync", |_, seen| seen.in_sync() && seen.verified_at() > Some(asked));
}

fn all<'a, 'b>(groups: &'b [Group<'a>]) -> Vec<&'b Member<'a>> {
    groups.iter().flat_map(|group| &group.members).collect()
}

impl<'a> Group<'a> {
    pub fn start(lab: &Lab, home: &Path, members: Vec<Member<'a>>) -> Self {
        let mut yaml = String::new();
        for member in &members {
            let own = member.yaml(&member.replica());
            let databases = own.split_once("dbs:\n").unwrap().1;
            yaml += if yaml.is_empty() { &own } else { databases };
        }
        let version = members[0].version;
        fs::create_dir_all(home).unwrap();
        let config = home.join("litestream.yml");
        fs::write(&config, yaml).unwrap();
        let mut command = lab.litestream(version);
        let environment = members.iter().filter_map(|member| member.place.environment.clone());
        command.arg("replicate").arg("-config").arg(&config).envs(environment);
        let process = Process::spawn(&mut command, home.join("litestream.log"));
        Self { members, litestream: Litestream { process, config } }
    }
}

pub fn every_kind_at_once(lab: &Lab, home: &Path) {
    let places = Place::of_all_kinds(lab, home);
    let all_of = |version, kept: fn(usize) -> bool| {
        let kept = places.iter().enumerate().filter(move |(number, _)| kept(*number)).map(|(_, place)| place);
        kept.filter_map(move |place| Member::new(lab, home, place, version)).collect::<Vec<_>>()
    };
    let groups = [all_of(NEW, |number| number % 2 == 0), all_of(NEW, |number| number % 2 == 1), all_of(OLD, |_| true)];
    let mut groups: Vec<_> = (0..)
        .zip(groups)
        .map(|(number, members)| Group::start(lab, &home.join(format!("litestream-{number}")), members))
        .collect();
    let configs: Vec<_> = groups.iter().map(|group| &group.litestream.config).collect();
    let toml = format!(
        "[litestream]\nconfig = {configs:?}\n[replica]\ninterval = \"1s\"\nidle-interval = \"2s\"\n\
         [drill]\ninterval = \"30s\"\n[beacon]\nenabled = true\ninterval = \"2s\"\n"
    );
    let mut streamgauge = command(env!("CARGO_BIN_EXE_streamgauge"));
    streamgauge.envs(places.iter().filter_map(|place| place.environment.clone()));
    let agent = Agent::start_by(streamgauge, home, &toml, &home.join("streamgauge"), &[]);
    agent.wait_until_ready();

    written_and_quiet(&agent, &mut groups);
    for stopped in 0..groups.len() {
        one_stopped(&agent, &mut groups, stopped);
    }
    for place in &places {
        let writes = [("store", place.kind), ("operation", "write")];
        wait_for("a beacon", || agent.metric("streamgauge_store_requests_total", &writes) >= Some(1.0));
    }
    for member in all(&groups) {
        let name = member.name.as_str();
        let drills = |result| agent.metric("streamgauge_drills_total", &[("database", name), ("result", result)]);
        wait_for(&format!("a drill of {name} to pass"), || drills("passed") >= Some(1.0));
        assert_eq!(drills("failed").unwrap_or(0.0), 0.0, "{name}: {}", agent.process.log());
    }
    assert!(!agent.process.log().contains("cannot write the beacon"), "{}", agent.process.log());
    let report = agent.report().to_string();
    assert!(report.contains("replicas[0].host-key: not set: any server is trusted"), "{report}");
    tells_no_secret(&agent, &places);
    let config = agent.config.clone();
    drop(agent);

    // Nothing is cleaned up any more while it is restored.
    groups.iter().for_each(|group| group.litestream.process.freeze());
    thread::scope(|scope| {
        for group in &mut groups {
            let (config, yaml) = (&config, &group.litestream.config);
            let members = &mut group.members;
            scope.spawn(move || {
                members.iter_mut().for_each(|member| restores_the_same(lab, home, member, config, yaml))
            });
        }
    });
}

fn written_and_quiet(agent: &Agent, groups: &mut [Group<'_>]) {
    for member in groups.iter_mut().flat_map(|group| &mut group.members) {
        member.writer.run(Duration::from_millis(100));
    }
    let members = all(groups);
    let known = |seen: &Seen| seen.recovery_point().is_some() && seen.lag().is_some();
    wait_until(agent, &members, "for the first proof", |_, seen| known(seen));
    let begun = now();
    while now() < begun + 4.0 {
        wait_until(agent, &members, "to be behind by seconds at most", |member, seen| {
            let lag = seen.lag();
            assert!(lag.is_some_and(|lag| lag < FEW_SECONDS), "{}: {lag:?} {}", member.name, agent.process.log());
            true
        });
    }
    wait_until(agent, &members, "to be proven", |_, seen| seen.recovery_point() > Some(begun));
    for member in members {
        let method = if member.version == NEW { "wal" } else { "segment" };
        assert_eq!(replica_report(agent, &member.name)["method"], method);
    }
    for member in groups.iter_mut().flat_map(|group| &mut group.members) {
        member.writer.pause();
    }
    wait_until_in_sync(agent, &all(groups));
}

/// All are written to while one Litestream stands still.
fn one_stopped(agent: &Agent, groups: &mut [Group<'_>], stopped: usize) {
    groups[stopped].litestream.process.freeze();
    for member in groups.iter_mut().flat_map(|group| &mut group.members) {
        member.writer.commit(3);
    }
    let version = groups[stopped].members[0].version;
    let hit: Vec<_> = groups[stopped].members.iter().map(|member| &member.name).collect();
    wait_until(agent, &all(groups), &format!("while {version} with {hit:?} stands still"), |member, seen| {
        if hit.contains(&&member.name) { seen.lag() > Some(3.0) } else { seen.in_sync() }
    });
    groups[stopped].litestream.process.thaw();
    wait_until_in_sync(agent, &groups[stopped].members.iter().collect::<Vec<_>>());
}

/// Byte for byte what Litestream restores.
fn restores_the_same(lab: &Lab, home: &Path, member: &mut Member<'_>, config: &Path, yaml: &Path) {
    let [ours, theirs] = ["ours", "theirs"].map(|who| home.join(format!("{}-{who}.db", member.name)));
    let mut restore = command(env!("CARGO_BIN_EXE_streamgauge"));
    restore.args(["restore", &member.name, "--quiet", "--config.file"]).arg(config).arg("-o").arg(&ours);
    let mut litestream = lab.litestream(member.version);
    litestream.arg("restore").arg("-config").arg(yaml).arg("-o").arg(&theirs).arg(&member.database);
    for command in [&mut restore, &mut litestream] {
        let done = command.envs(member.place.environment.clone()).output().unwrap();
        assert!(done.status.success(), "{}: {}", member.name, String::from_utf8_lossy(&done.stderr));
    }
    assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "{}: not Litestream's bytes", member.name);
    let rows = "SELECT count(*), sum(id) FROM t";
    assert_eq!(lab.writer(&ours).sql(rows), member.writer.sql(rows), "{}", member.name);
}

/// Neither on the page, nor in what programs read, nor in the log.
pub fn tells_no_secret(agent: &Agent, places: &[Place]) {
    let told = ["/", "/metrics", "/api/v1/report"].map(|path| agent.get(path).text());
    for secret in places.iter().flat_map(|place| &place.secrets) {
        let log = agent.process.log();
        assert!(!told.iter().chain([&log]).any(|text| text.contains(secret)), "{secret}");
    }
}
