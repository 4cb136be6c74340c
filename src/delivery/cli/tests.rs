//! Words in, commands out.

use std::any::TypeId;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;

use super::args::{CheckFormat, SourceArgs};
use super::sources::Sources;
use super::*;
use crate::domain::litestream::{LevelKeys, ObjectName};
use crate::usecase::ports::Configuration;

fn parse(words: &str) -> Result<Command, String> {
    let cli = Cli::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
    Ok(cli.command)
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_are_those_of_prometheus() {
    let words = "streamgauge run --config.file=a.toml --litestream.config b.yml --litestream.config=c.yml \
                 --web.listen-address :1 --web.listen-address [::1]:2 --storage.path /s --log.level=debug --log.format json";
    let Ok(Command::Run(run)) = parse(words) else { panic!("run") };
    assert_eq!(run.sources.config_file, Some("a.toml".into()));
    assert_eq!(run.sources.litestream_config, [PathBuf::from("b.yml"), "c.yml".into()]);
    assert_eq!(run.web_listen_address, [":1", "[::1]:2"]);
    assert_eq!(run.storage_path, Some("/s".into()));
    let Ok(Command::Run(none)) =
        Cli::try_parse_from(["streamgauge", "run", "--storage.path", ""]).map(|cli| cli.command)
    else {
        panic!("run")
    };
    assert_eq!(none.storage_path, Some("".into()), "as in the file: nothing is kept");
    assert_eq!((run.log.level.as_deref(), run.log.format.as_deref()), (Some("debug"), Some("json")));
}

#[test]
fn what_the_agent_tells_people_to_type_finds_its_configuration() {
    let words = "streamgauge run --config.file /etc/own.toml --litestream.config b.yml";
    let Ok(Command::Run(run)) = parse(words) else { panic!("run") };
    let agent = Sources::of_run(&run);
    let expected = "streamgauge why ReplicationLag --config.file /etc/own.toml --litestream.config b.yml";
    assert_eq!(Configuration::command(&agent, "why ReplicationLag"), expected);
}

#[test]
fn a_mistyped_command_suggests_none_that_is_hidden() {
    let check = |typed: &str, expected: Option<&str>| {
        let error = Cli::try_parse_from(["streamgauge", typed]).map_err(super::without_hidden).unwrap_err().to_string();
        let tip = error.lines().find(|line| line.contains("similar")).map(str::trim);
        assert_eq!(tip, expected, "{error}");
    };
    check("drilll", Some("tip: a similar subcommand exists: 'drill'"));
    check("demo-pear", Some("tip: a similar subcommand exists: 'demo'"));
    check("-peer", None);
    check("drill-wrker", Some("tip: a similar subcommand exists: 'drill'"));
}

/// An option that is not on the command line must not hide the one in the file.
#[test]
fn nothing_given_is_nothing_set() {
    let Ok(Command::Run(run)) = parse("streamgauge run") else { panic!("run") };
    assert_eq!(run.sources, SourceArgs::default());
    assert!(run.web_listen_address.is_empty() && run.storage_path.is_none());
    assert!(run.log.level.is_none() && run.log.format.is_none());
}

#[test]
fn check_and_demo_have_durations() {
    let Ok(Command::Check(check)) = parse("streamgauge check app orders --format json --wait 1m30s") else {
        panic!("check")
    };
    assert_eq!((check.databases.len(), check.format, check.wait.as_secs()), (2, CheckFormat::Json, 90));
    let Ok(Command::Check(check)) = parse("streamgauge check") else { panic!("check") };
    assert_eq!((check.format, check.wait), (CheckFormat::Table, Duration::from_secs(5)));
    let Ok(Command::Demo(demo)) = parse("streamgauge demo --fault delete-snapshot --fault-after 300ms") else {
        panic!("demo")
    };
    assert_eq!((demo.fault, demo.fault_after), (Some("delete-snapshot".to_owned()), Duration::from_millis(300)));
    assert!(matches!(parse("streamgauge config check"), Ok(Command::Config(_))));
}

#[test]
fn restorable_takes_places_an_instant_and_keys() {
    const KEYS: [&str; 2] =
        ["ltx/9/0000000000000001-0000000000000002.ltx", "generations/0123456789abcdef/wal/00000001_00000000.wal.lz4"];
    let [one, other] = KEYS;
    let words = "streamgauge restorable orders s3://b/p --at 2h --replica s3 --format json";
    let words = &format!("{words} --without {one} --without {other}");
    let Ok(Command::Restorable(asked)) = parse(words) else { panic!("restorable") };
    assert_eq!((asked.places.len(), asked.at.as_deref(), asked.replica.as_deref()), (2, Some("2h"), Some("s3")));
    let keys = |without: &[ObjectName]| without.iter().map(|name| name.key(LevelKeys::Plain)).collect::<Vec<_>>();
    assert_eq!(keys(&asked.without.without), KEYS);
    let Ok(Command::Restore(asked)) = parse(&format!("streamgauge restore orders -o o.db --without {one}")) else {
        panic!("restore")
    };
    assert_eq!(keys(&asked.without.without), [one]);
    // As they are called on S3.
    assert!(parse("streamgauge restorable --without 0009/0000000000000001-0000000000000002.ltx").is_ok());
    assert!(parse("streamgauge restorable --without snapshot").is_err());
}

#[test]
fn cost_takes_places_and_changes() {
    let words =
        "streamgauge cost shop s3://b/p --replica s3 --what-if store=wasabi --what-if retention=7d --format json";
    let Ok(Command::Cost(asked)) = parse(words) else { panic!("cost") };
    assert_eq!((asked.places.len(), asked.what_if.len(), asked.replica.as_deref()), (2, 2, Some("s3")));
}

#[test]
fn mistakes_say_what_is_accepted() {
    let cases = [
        ("streamgauge check --wait=-5s", "negative duration; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("streamgauge check --wait soon", "not a duration; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("streamgauge demo --fault rain", "invalid value 'rain' for '--fault <FAULT>'"),
        ("streamgauge cost --what-if retension=7d", "unknown setting `retension`, did you mean `retention`?"),
        ("streamgauge run --log.level loud", "[possible values: error, warn, info, debug, trace]"),
        ("streamgauge run extra", "unexpected argument 'extra'"),
        ("streamgauge watch", "unrecognized subcommand 'watch'"),
    ];
    for (words, expected) in cases {
        let error = parse(words).expect_err(words);
        assert!(error.contains(expected), "{words}: {error}");
    }
}

/// The words that come before every flag of a command, and the flag.
fn flags_of<T: 'static>(command: &clap::Command, words: &str) -> Vec<String> {
    let taking = command.get_arguments().filter(|flag| flag.get_value_parser().type_id() == TypeId::of::<T>());
    let own = taking.filter_map(|flag| Some(format!("{words} --{}", flag.get_long()?)));
    let below =
        command.get_subcommands().flat_map(|below| flags_of::<T>(below, &format!("{words} {}", below.get_name())));
    own.chain(below).collect()
}

/// As tests/config holds it for every key of the file and the environment.
#[test]
fn durations_and_sizes_are_those_of_the_configuration() {
    let refused = |words: &str, value: &str| {
        Cli::try_parse_from(words.split(' ').chain([value])).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let command = Cli::command();
    let durations = flags_of::<Duration>(&command, "streamgauge");
    let sizes = flags_of::<u64>(&command, "streamgauge").into_iter().filter(|flag| flag.ends_with("-size"));
    let sizes: Vec<String> = sizes.collect();
    assert!(durations.len() >= 3 && !sizes.is_empty(), "{durations:?} {sizes:?}");
    for (flags, good, accepted) in [
        (durations, "7d", "a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        (sizes, "1.5GiB", "a size such as 10GiB, 512MB, 1.5GiB or a number of bytes"),
    ] {
        for flag in flags {
            let error = refused(&flag, "1 fortnight");
            assert!(error.contains(&format!("unknown unit; accepted: {accepted}")), "{flag}: {error}");
            assert!(!refused(&flag, good).contains("invalid value"), "{flag} {good}");
        }
    }
}

#[test]
fn help_teaches_with_examples() {
    let long = Cli::command().render_help().to_string();
    assert!(long.contains("streamgauge check --litestream.config /etc/litestream.yml"), "{long}");
    assert!(parse("streamgauge --version").expect_err("a version").contains("(revision "));
}

#[test]
fn commands_in_hints_carry_the_configuration_that_was_given() {
    assert_eq!(SourceArgs::default().command("check app"), "streamgauge check app");
    let sources = SourceArgs {
        config_file: Some("/etc/a.toml".into()),
        litestream_config: vec!["b.yml".into(), "the owner's $c.yml".into()],
    };
    let command = sources.command("check app");
    let (before, last) = command.rsplit_once(" --litestream.config ").unwrap();
    assert_eq!(before, "streamgauge check app --config.file /etc/a.toml --litestream.config b.yml");
    assert_eq!(last, r"'the owner'\''s $c.yml'");
}
