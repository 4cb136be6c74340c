//! `streamgauge check`: one look, a verdict, an exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::args::{CheckArgs, CheckFormat, SourceArgs};
use super::blocks::blocks;
use super::overview::{Drills, overview};
use super::runtime::block_on;
use super::sources::{Sources, resolved, stores};
use super::version::{REVISION, VERSION};
use super::{nagios, output};
use crate::delivery::render::json::json;
use crate::delivery::render::metrics::{openmetrics, to_text};
use crate::domain::assessment::{AgentReport, Assessment, ConfigReport, Tally};
use crate::domain::check::{Judge, Watching};
use crate::domain::history::History;
use crate::domain::limits::SPOT_ONCE_PAGES;
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::spot::SpotPolicy;
use crate::domain::verdict::Word;
use crate::domain::verification::{VerifyDepth, VerifyPolicy};
use crate::infrastructure::clock::SystemClock;
use crate::infrastructure::database::Watch;
use crate::infrastructure::journal;
use crate::usecase::ports::{Clock, Pace, Stores};
use crate::usecase::remembered::{heed, remembered_alerts};
use crate::usecase::watch::{OnceParts, look_once, named, remembered_drills};

/// Looks once and prints what was found.
///
/// # Errors
///
/// When the configuration has problems or names a database that is not there. What keeps a database or a replica from
/// being read is part of the report.
pub fn main(args: &CheckArgs) -> Result<ExitCode, Reason> {
    let looked = look(&args.sources, &args.databases, args.verify, args.wait);
    let Looked { report, drills } = match looked {
        // It shows standard output alone.
        Err(reason) if args.format == CheckFormat::Nagios => {
            let text = nagios::unknown(&reason);
            // Whoever reads the file must not go on reading that all was well.
            args.output.as_ref().map_or_else(|| output::print(&text), |path| output::replace(path, &text))?;
            return Ok(ExitCode::from(Word::Unknown.exit_code()));
        }
        looked => looked?,
    };
    let colour = args.output.is_none() && output::colour();
    let width = output::room(args.output.is_none());
    let text = match args.format {
        CheckFormat::Table if args.verbose || report.assessment.databases.len() <= 1 => blocks(&report, colour, width),
        CheckFormat::Table => overview(&report, &drills, &args.sources, colour, width.max(output::WIDTH)),
        CheckFormat::Json => json(&report)?,
        CheckFormat::Prometheus => to_text(&openmetrics(&report)),
        CheckFormat::Nagios => nagios::nagios(&report),
    };
    match &args.output {
        None => output::print(&text)?,
        Some(path) => output::replace(path, &text)?,
    }
    Ok(ExitCode::from(report.word().exit_code()))
}

/// What one look found.
pub struct Looked {
    pub report: Arc<Report>,
    /// What an agent of this host saved, which is no part of the look.
    pub drills: Drills,
}

/// Looks once.
///
/// # Errors
///
/// As [`main`].
pub fn look(sources: &SourceArgs, databases: &[String], depth: VerifyDepth, wait: Duration) -> Result<Looked, Reason> {
    super::logging::init_from(LevelFilter::ERROR);
    let loaded = Sources::new(sources).read()?;
    let databases = resolved(&loaded.targets, databases);
    let targets = named(loaded.targets, &databases)?;
    let saved = loaded.settings.storage.as_deref().map(journal::peek).unwrap_or_default();
    let drills = remembered_drills(&saved, &targets);
    let (alerting, storage) = (loaded.settings.alerting.clone(), loaded.settings.storage.clone());
    let (clock, stores) = (SystemClock::start(), stores(&loaded.settings));
    // Whoever asks once has asked for it: the budget is for what is read unasked.
    let spot = match depth {
        VerifyDepth::Content => SpotPolicy { pages: SPOT_ONCE_PAGES, ..SpotPolicy::default() },
        VerifyDepth::None | VerifyDepth::Structure => SpotPolicy::OFF,
    };
    let verify = VerifyPolicy { depth, directory: u64::MAX, bucket: u64::MAX, spot };
    let pace = Pace { verify, ..loaded.settings.pace };
    let started = clock.now();
    let mut watch = Watch::new();
    let parts = OnceParts { clock: &clock, watch: &mut watch, stores: stores.as_ref(), pace: &pace };
    let databases = block_on(look_once(parts, targets, wait))?;
    let now = clock.now().wall();
    let agent = AgentReport {
        version: VERSION,
        revision: REVISION,
        started_at: started.wall(),
        config: ConfigReport::read_at(started.wall()),
        sources: loaded.sources,
        stores: stores.report(),
        ..AgentReport::default()
    };
    let states = Tally::of(databases.iter().map(|database| &**database)).states;
    let (over_limit, selection) = (loaded.over_limit, loaded.settings.metrics.selection);
    let assessment = Assessment { complete: true, agent, databases, states, over_limit, selection };
    let verdicts = Judge::new(Watching::Once).judge(&assessment, now);
    let (alerts, history) = (Vec::new(), History::default());
    let mut report = Report { generated_at: now, assessment, verdicts, alerts, alerts_dropped: 0, history };
    // What an agent said that ended since may be over.
    if let Some(storage) = storage.filter(|storage| journal::is_in_use(storage)) {
        heed(&mut report, remembered_alerts(&journal::peek(&storage), &alerting, clock.now()));
    }
    Ok(Looked { report: Arc::new(report), drills })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::render::terminal::UNCUT;
    use crate::domain::report::sample;
    use crate::domain::verdict::{Severity, Status, Verdict};

    /// Everything that one verdict can be.
    const STATES: [(Severity, Status); 5] = [
        (Severity::Critical, Status::Pass),
        (Severity::Info, Status::Fail),
        (Severity::Warning, Status::Fail),
        (Severity::Critical, Status::Unknown),
        (Severity::Critical, Status::Fail),
    ];

    /// Verdicts in each of a set of states, on a replica or on the agent.
    fn verdicts(set: u8, replica: Option<&str>) -> Vec<Verdict> {
        let wanted = (0..).zip(STATES).filter(|(bit, _)| set >> bit & 1 == 1);
        let verdict = |(_, (severity, status))| Verdict {
            check: "ReplicationLag",
            title: "the title",
            severity,
            database: replica.map(|_| "app".into()),
            replica: replica.map(Into::into),
            status,
            detail: "the detail".into(),
        };
        wanted.map(verdict).collect()
    }

    /// The word with which the last line before the notes begins, as the exit code that it stands for.
    fn printed(table: &str) -> u8 {
        let last = table.lines().take_while(|line| !line.starts_with("not observable")).filter(|line| !line.is_empty());
        let last = last.last().unwrap_or_default();
        let word = last.split(' ').find(|word| word.parse::<usize>().is_err()).unwrap_or_default();
        code(word.trim_end_matches(',').to_lowercase().as_str())
    }

    fn code(word: &str) -> u8 {
        match word {
            "ok" => 0,
            "warning" => 1,
            "critical" => 2,
            "unknown" => 3,
            other => panic!("{other}"),
        }
    }

    /// The last line of an overview begins with the heaviest word, and a line for Nagios with the only one.
    fn in_short(report: &Report) -> [u8; 2] {
        let (overview, nagios) =
            (overview(report, &Drills::new(), &SourceArgs::default(), false, 80), nagios::nagios(report));
        let last = overview.rsplit("\n\n").next().unwrap_or_default();
        let word = |text: &str| {
            code(text.split([' ', ',', ';', ':', '\n']).nth(1).unwrap_or_default().to_lowercase().as_str())
        };
        [word(last), word(&nagios)]
    }

    fn agree(report: &Report, expected: u8) {
        let table = blocks(report, false, UNCUT);
        if !report.assessment.databases.is_empty() {
            assert_eq!(in_short(report), [expected; 2], "{table}");
        }
        let json: serde_json::Value = serde_json::from_str(&json(report).unwrap()).unwrap();
        let exit = report.word().exit_code();
        assert_eq!([exit, printed(&table), code(json["status"].as_str().unwrap())], [expected; 3], "{table}");
    }

    /// The worst of some sets of states, by Nagios' weights; an empty set on a replica is not judged.
    fn worst(sets: &[u8]) -> u8 {
        let of = |set: &u8| match set {
            0 => 3,
            _ if set & 0b1_0000 != 0 => 2,
            _ if set & 0b1000 != 0 => 3,
            _ if set & 0b100 != 0 => 1,
            _ => 0,
        };
        let weight = |code: &u8| [0, 1, 3, 2][usize::from(*code)];
        sets.iter().map(of).max_by_key(weight).unwrap_or(3)
    }

    /// All sets of states on the agent and on each of two replicas of two databases.
    #[test]
    fn exit_code_table_and_json_agree_on_every_combination() {
        let sets = 0..1 << STATES.len();
        for (agent, one) in sets.clone().flat_map(|agent| sets.clone().map(move |one| (agent, one))) {
            for other in [0, 0b1, 0b10, 0b100, 0b1000, 0b1_0000, 0b1_1111] {
                let mut report = sample::report(vec![sample::healthy("app"), sample::healthy("app")]);
                report.verdicts.databases = [one, other].map(|set| verdicts(set, Some("s3")).into()).to_vec();
                report.verdicts.agent = verdicts(agent, None);
                // An agent of which nothing is judged is none: this is a look.
                agree(&report, worst(&[if agent == 0 { 1 } else { agent }, one, other]));
            }
            let mut nothing = sample::report(Vec::new());
            nothing.verdicts.agent = verdicts(agent, None);
            agree(&nothing, if agent & 0b1_0000 != 0 { 2 } else { 3 });
        }
    }

    /// What the agent of this host says, as all outputs have it; what it says of others is not asked.
    #[test]
    fn what_an_agent_that_runs_says_counts_as_much_as_the_look() {
        let alert = |severity, database: &str, replica: Option<&str>| {
            let replica = replica.map(|replica| ("replica", replica));
            let labels = [("alertname", "ReplicationLag"), ("database", database)].into_iter().chain(replica);
            let mut alert = sample::everything().alerts[0].as_ref().clone();
            alert.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            (alert.severity, alert.state) = (severity, crate::domain::alert::AlertState::Firing);
            Arc::new(alert)
        };
        let heeding = |set: u8, alerts| {
            let mut report = sample::report(vec![sample::healthy("app")]);
            report.verdicts.databases = vec![verdicts(set, Some("s3")).into()];
            heed(&mut report, alerts);
            report
        };
        for (severity, expected) in [(Severity::Info, 0), (Severity::Warning, 1), (Severity::Critical, 2)] {
            agree(&heeding(1, vec![alert(severity, "app", Some("s3"))]), expected);
            // It is about the database as a whole, of which the look said nothing.
            agree(&heeding(1, vec![alert(severity, "app", None)]), expected);
            agree(&heeding(1, vec![alert(severity, "other", None)]), 0);
            agree(&heeding(0b1_0000, vec![alert(severity, "app", Some("s3"))]), 2);
        }
        let heeded =
            heeding(1, vec![alert(Severity::Critical, "app", Some("s3")), alert(Severity::Critical, "b", None)]);
        assert_eq!((heeded.alerts.len(), heeded.verdicts.databases[0].len()), (1, 1));
        assert!(blocks(&heeded, false, UNCUT).contains(" (the agent of this host)"));
    }

    #[test]
    fn of_an_empty_replica_everything_is_at_risk() {
        let mut report = sample::report(vec![sample::healthy("app")]);
        let database = &mut report.assessment.databases[0];
        let replica = &mut Arc::make_mut(database).replicas[0];
        (replica.coverage, replica.lag_seconds) = (Some(Arc::default()), None);
        let table = blocks(&report, false, UNCUT);
        let row = |name: &str| table.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap().trim();
        assert_eq!((row("lag "), row("at risk ")), ("unknown", "everything"), "{table}");
    }

    /// How a database grows is not known for a week: that makes nothing unknown that could be lost.
    #[test]
    fn a_note_that_is_not_known_yet_is_no_more_than_a_note() {
        let mut report = sample::report(vec![sample::healthy("app")]);
        let mut judged = verdicts(1, Some("s3"));
        judged.push(Verdict { severity: Severity::Info, status: Status::Unknown, ..judged[0].clone() });
        report.verdicts.databases = vec![judged.into()];
        agree(&report, 0);
    }

    #[test]
    fn a_database_without_a_verdict_is_not_well() {
        let mut report = sample::report(vec![sample::healthy("app")]);
        report.verdicts.databases = vec![verdicts(1, Some("s3")).into()];
        agree(&report, 0);
        report.assessment.databases.push(Arc::new(sample::healthy("other")));
        agree(&report, 3);
    }
}
