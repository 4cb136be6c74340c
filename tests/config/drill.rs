//! When and how restores are rehearsed, as it is configured.

use std::time::Duration;

use jiff::civil::time;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::drill::{DrillPolicy, DrillSchedule, Integrity};
use streamgauge::domain::price::ConfiguredPrices;

use super::Files;

fn own(text: &str) -> Files {
    let files = Files::new();
    files.write("streamgauge.toml", text);
    files
}

/// The policies of all databases, in the order of their names.
fn policies(text: &str) -> Vec<DrillPolicy> {
    own(text).load().targets.into_iter().map(|target| (*target.drill).clone()).collect()
}

/// What is said of a configuration with mistakes in it, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let files = own(&format!("{text}\n[[database]]\npath = '/last.db'\n"));
    let problems = super::load(&files.input()).expect_err("broken").problems;
    problems.iter().map(|problem| problem.to_string().replace("streamgauge.toml:", "")).collect()
}

#[test]
fn nothing_said_is_daily_or_monthly_by_size_and_20_gib_a_day() {
    let loaded = own("[[database]]\npath = '/a.db'\n").load();
    assert_eq!(*loaded.targets[0].drill, DrillPolicy::default());
    let drill = &loaded.settings.drill;
    assert_eq!(drill.policy, DrillPolicy::default());
    assert_eq!(drill.limits, DrillLimits { window: None, daily_download: Some(5 << 30) });
    assert_eq!(drill.scratch, None);
}

#[test]
fn a_database_says_what_is_different_for_it() {
    let text = "
[objectives]
rpo = '2m'
rto = '10m'
[drill]
interval = '12h'
max-size = '2GiB'
timeout = '1h'
check = 'integrity'
foreign-keys = false
compare = false
full-every = 7
memory = '256MiB'
daily-download = 0
[drill.price]
received-per-gigabyte = 0
[[database]]
path = '/a.db'
[[database]]
path = '/b.db'
rto = '30s'
[database.drill]
schedule = '*/5 1-3 * * 0 UTC'
max-size = 1000000
check = 'none'
full-every = 1
[database.drill.price]
reads-per-thousand = 1.5
[[database.probe]]
name = 'fresh'
query = 'SELECT max(at) FROM t'
max-age = '1d'
[[database.probe]]
name = 'enough'
query = 'SELECT count(*) FROM t'
min = 10
max = 2.5e3
[[database.probe]]
name = 'same'
query = 'SELECT true'
equals = true
";
    let policies = policies(text);
    let prices = ConfiguredPrices { received_per_gigabyte: Some(0.0), ..ConfiguredPrices::default() };
    let everywhere = DrillPolicy {
        schedule: DrillSchedule::Every(Duration::from_secs(12 * 3600)),
        size_max: 2 << 30,
        timeout: Duration::from_secs(3600),
        integrity: Integrity::Full,
        foreign_keys: false,
        compare: false,
        full_every: 7,
        memory_max: 256 << 20,
        probes: Vec::new(),
        prices,
        rpo: Duration::from_secs(120),
        rto: Some(Duration::from_secs(600)),
    };
    assert_eq!(policies[0], everywhere);
    let own_probes = policies[1].probes.clone();
    let expected = DrillPolicy {
        schedule: DrillSchedule::Cron("*/5 1-3 * * 0 UTC".into()),
        size_max: 1_000_000,
        integrity: Integrity::None,
        full_every: 1,
        prices: ConfiguredPrices { reads_per_thousand: Some(1.5), ..prices },
        rto: Some(Duration::from_secs(30)),
        probes: own_probes.clone(),
        ..everywhere
    };
    assert_eq!(policies[1], expected);
    let shown: Vec<String> = own_probes
        .iter()
        .map(|probe| {
            let expect = &probe.expect;
            let parts = (expect.max_age, expect.min, expect.max, expect.equals.as_deref());
            format!("{}: {}: {parts:?}", probe.name, probe.query)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "fresh: SELECT max(at) FROM t: (Some(86400s), None, None, None)",
            "enough: SELECT count(*) FROM t: (None, Some(10.0), Some(2500.0), None)",
            "same: SELECT true: (None, None, None, Some(\"true\"))",
        ]
    );
    assert_eq!(own(text).load().settings.drill.limits.daily_download, None);
}

#[test]
fn drills_are_switched_off_and_on() {
    let schedules = |text: &str| policies(text).into_iter().map(|policy| policy.schedule).collect::<Vec<_>>();
    let databases = "[[database]]\npath = '/a.db'\n[[database]]\npath = '/b.db'\n[database.drill]\nenabled = true\n\
         [[database]]\npath = '/c.db'\n[database.drill]\nenabled = false\ninterval = '1h'\n";
    let (off, size) = (DrillSchedule::Off, DrillSchedule::BySize);
    assert_eq!(schedules(databases), [size.clone(), size.clone(), off.clone()]);
    assert_eq!(schedules(&format!("[drill]\nenabled = false\n{databases}")), [off.clone(), size, off.clone()]);
    // What was said of the times still holds where it is on.
    let weekly = DrillSchedule::Every(Duration::from_secs(7 * 86_400));
    let text = format!("[drill]\nenabled = false\ninterval = '7d'\n{databases}");
    assert_eq!(schedules(&text), [off.clone(), weekly, off]);
}

#[test]
fn a_window_may_span_midnight_and_scratch_is_found() {
    let text = "[drill]\nwindow = '22:30-24:00'\nscratch = '~/scratch'\n[[database]]\npath = '/a.db'\n";
    let settings = own(text).load().settings;
    let window = settings.drill.limits.window.clone().expect("a window");
    assert_eq!((window.from, window.to), (time(22, 30, 0, 0), time(0, 0, 0, 0)));
    assert_eq!(settings.drill_scratch(), std::path::Path::new("/home/me/scratch"));
    let stored = own("[storage]\npath = '/state'\n[[database]]\npath = '/a.db'\n").load().settings;
    assert_eq!(stored.drill_scratch(), std::path::Path::new("/state/drill"));
}

#[test]
fn the_environment_reaches_drills() {
    let mut files = own("[[database]]\npath = '/a.db'\n");
    files
        .set("STREAMGAUGE__DRILL__INTERVAL", "2h")
        .set("STREAMGAUGE__DRILL__MAX_SIZE", "1000")
        .set("STREAMGAUGE__DRILL__FULL_EVERY", "3")
        .set("STREAMGAUGE__DRILL__PRICE__LISTS_PER_THOUSAND", "0.5");
    let policy = files.load().targets.remove(0).drill;
    assert_eq!(policy.schedule, DrillSchedule::Every(Duration::from_secs(7200)));
    assert_eq!((policy.size_max, policy.full_every, policy.prices.lists_per_thousand), (1000, 3, Some(0.5)));
}

#[test]
fn every_mistake_is_named_at_once() {
    let shown = problems(
        "[drill]
enabled = 'yes'
interval = '1d'
schedule = '0 3 * * *'
window = '5-7'
max-size = '10 gigs'
daily-download = -5
timeout = '8d'
check = 'full'
full-every = 0
memory = '1MiB'
intervall = '1d'
[drill.price]
received-per-gigabyte = -1
[objectives]
rto = 5
[[database]]
path = '/a.db'
[database.drill]
window = '01:00-05:00'
schedule = '0 3 30 2 *'
[[database.probe]]
[[database.probe]]
name = 'a'
query = ' '
equals = ['x']
[[database.probe]]
name = 'a'
query = 'SELECT 1'
min = 2
max = 1
[[database]]
path = '/b.db'
drill.schedule = '0 3 * *'
[[database]]
path = '/c.db'
drill.schedule = '61 3 * * *'",
    );
    let size = "accepted: a size such as 10GiB, 512MB, 1.5GiB or a number of bytes";
    let duration = "accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d";
    let cron = "accepted: five fields and optionally a time zone, such as 0 3 * * * or 0 3 * * SUN Europe/Berlin";
    let keys = "check, compare, daily-download, enabled, foreign-keys, full-every, interval, max-size, memory, price, \
                schedule, scratch, timeout, window";
    let own_keys =
        "check, compare, enabled, foreign-keys, full-every, interval, max-size, memory, price, schedule, timeout";
    let expected = [
        "2: drill.enabled: value `yes`: in quotes, which makes it text; accepted: true or false".to_owned(),
        "4: drill.schedule: beside `interval`; accepted: one of the two".to_owned(),
        "5: drill.window: value `5-7`: not two times; accepted: two times of day such as 01:00-05:00 or 22:00-04:00"
            .to_owned(),
        format!("6: drill.max-size: value `10 gigs`: unknown unit; {size}"),
        format!("7: drill.daily-download: value `-5`: not a size; {size}"),
        "8: drill.timeout: too long; accepted: at most 7d".to_owned(),
        "9: drill.check: value `full`: not one of the choices; accepted: quick, integrity, none".to_owned(),
        "10: drill.full-every: value `0`: not such a number; accepted: a number from 1 to 1000".to_owned(),
        format!("11: drill.memory: value `1MiB`: too small; {size}, at least 67108864"),
        format!("12: drill.intervall: unknown key, did you mean `interval`?; accepted: {keys}"),
        "14: drill.price.received-per-gigabyte: value `-1`: not such a number; accepted: a number, 0 or above"
            .to_owned(),
        format!("16: objectives.rto: value `5`: a number without a unit; {duration}"),
        format!("20: database[0].drill.window: unknown key; accepted: {own_keys}"),
        format!("21: database[0].drill.schedule: value `0 3 30 2 *`: never due; {cron}"),
        "22: database[0].probe[0].name: missing".to_owned(),
        "22: database[0].probe[0].query: missing".to_owned(),
        "22: database[0].probe[0]: does not say what is expected; accepted: at least one of max-age, min, max and \
         equals"
            .to_owned(),
        "25: database[0].probe[1].query: value ` `: empty; accepted: an SQL query that returns one row with one value"
            .to_owned(),
        "26: database[0].probe[1].equals: a list where one value is expected; accepted: text, a number or a boolean"
            .to_owned(),
        "28: database[0].probe[2].name: value `a`: given twice; accepted: a short name without control characters, \
         each name once"
            .to_owned(),
        "30: database[0].probe[2].min: above `max`".to_owned(),
        format!("34: database[1].drill.schedule: value `0 3 * *`: not five fields; {cron}"),
    ];
    assert_eq!(shown[..expected.len()], expected, "{shown:#?}");
    let [last] = &shown[expected.len()..] else { panic!("{shown:#?}") };
    assert!(last.starts_with("37: database[2].drill.schedule: value `61 3 * * *`: not a cron expression: "), "{last}");
}
