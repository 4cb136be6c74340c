//! Words in, commands out.

use clap::CommandFactory;

use super::*;

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
    assert_eq!((run.log.level, run.log.format), (Some(LogLevel::Debug), Some(LogFormat::Json)));
}

/// What is not on the command line must not hide what is in the file.
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
    assert_eq!((check.databases.len(), check.format, check.wait.as_secs()), (2, Format::Json, 90));
    let Ok(Command::Check(check)) = parse("streamgauge check") else { panic!("check") };
    assert_eq!((check.format, check.wait), (Format::Table, Duration::from_secs(5)));
    let Ok(Command::Demo(demo)) = parse("streamgauge demo --fault delete-snapshot --fault-after 300ms") else {
        panic!("demo")
    };
    assert_eq!((demo.fault, demo.fault_after), (Some("delete-snapshot".to_owned()), Duration::from_millis(300)));
    assert!(matches!(parse("streamgauge config check"), Ok(Command::Config(_))));
}

#[test]
fn restorable_takes_places_an_instant_and_keys() {
    let words = "streamgauge restorable orders s3://b/p --at 2h --replica s3 --without a --without b --format json";
    let Ok(Command::Restorable(asked)) = parse(words) else { panic!("restorable") };
    assert_eq!((asked.places.len(), asked.at.as_deref(), asked.replica.as_deref()), (2, Some("2h"), Some("s3")));
    assert_eq!(asked.without, ["a", "b"]);
}

#[test]
fn mistakes_say_what_is_accepted() {
    let cases = [
        ("streamgauge check --wait=-5s", "expected a duration such as 300ms, 5s or 1m30s"),
        ("streamgauge check --wait soon", "expected a duration such as 300ms, 5s or 1m30s"),
        ("streamgauge demo --fault rain", "invalid value 'rain' for '--fault <FAULT>'"),
        ("streamgauge run --log.level loud", "[possible values: trace, debug, info, warn, error]"),
        ("streamgauge run extra", "unexpected argument 'extra'"),
        ("streamgauge watch", "unrecognized subcommand 'watch'"),
    ];
    for (words, expected) in cases {
        let error = parse(words).expect_err(words);
        assert!(error.contains(expected), "{words}: {error}");
    }
}

#[test]
fn help_teaches_with_examples() {
    let long = Cli::command().render_help().to_string();
    assert!(long.contains("streamgauge check --litestream.config /etc/litestream.yml"), "{long}");
    assert!(parse("streamgauge --version").expect_err("a version").contains("(revision "));
}
