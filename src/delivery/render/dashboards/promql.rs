//! PromQL of the dashboards: the series of a number among what is selected, and the few shapes in which they are asked.

use super::panel::Databases;
use crate::domain::check::outside::RPO_MET_30_DAYS;
use crate::domain::check::{Check, PROOF_AGE_INTERVALS, PROOF_AGE_SLACK_SECONDS, catalogue};
use crate::domain::number::Number;
use crate::domain::number::agent::{BUILD, CHECK_BREACH, CHECK_STATUS, PROCESS_START_TIME, REPORT_AT};
use crate::domain::number::database::SIZE_BYTES;
use crate::domain::number::replica::{INFO, LAG, RPO, UNREPLICATED_BYTES, VERIFIED_AT, VERIFY_INTERVAL, WATCHED_SINCE};
use crate::domain::profile::Profile;
use crate::domain::verdict::Severity;

/// Labels by which the variables of the dashboards select.
pub(super) const SELECTED: [&str; 4] = ["job", "instance", "database", "replica"];

/// PromQL in which the names of numbers, in braces, stand for their series among what is selected.
macro_rules! promql {
    ($text:literal $(, $number:ident)*) => {
        format!($text $(, $number = super::promql::of(&$number))*)
    };
}
pub(super) use promql;

/// A series of what is selected. Labels that are no variable are not asked for.
fn selection(name: &str, labels: &[&str], matchers: &[&str]) -> String {
    let of_scrape = ["job", "instance"];
    let selected = of_scrape.iter().chain(labels).filter(|label| SELECTED.contains(label));
    let selected = selected.map(|label| format!("{label}=~\"${label}\""));
    let all: Vec<String> = selected.chain(matchers.iter().map(|&matcher| matcher.to_owned())).collect();
    format!("{name}{{{}}}", all.join(","))
}

/// The series of a number.
pub(super) fn of(number: &Number) -> String {
    only(number, &[])
}

/// Those of them that match as well.
pub(super) fn only(number: &Number, matchers: &[&str]) -> String {
    selection(number.name, number.scope.labels(), matchers)
}

/// The buckets of a histogram.
pub(super) fn buckets(number: &Number) -> String {
    selection(&format!("{}_bucket", number.name), number.scope.labels(), &[])
}

/// How fast a counter counts, per second.
pub(super) fn rate(number: &Number) -> String {
    format!("rate({}[$__rate_interval])", of(number))
}

/// How much a counter has counted in the time that is shown.
pub(super) fn increase(number: &Number) -> String {
    format!("increase({}[$__range])", of(number))
}

/// What concerns the selected databases and replicas, and what concerns neither: the agent itself.
const SELECTED_OR_NONE: [&str; 2] = ["database=~\"$database|\"", "replica=~\"$replica|\""];

/// Leaves out the checks whose failure is no more than a note, as the word of a database does.
fn no_notes() -> String {
    let note = |check: &&Check| check.rules.iter().all(|rule| rule.severity == Severity::Info);
    let names: Vec<&str> = catalogue().filter(note).map(|check| check.name).collect();
    format!("check!~\"{}\"", names.join("|"))
}

/// Checks with this result, those of the agents as well.
pub(super) fn checks(status: &str) -> String {
    let more = [&*no_notes(), &format!("status=\"{status}\"")];
    only(&CHECK_STATUS, &[&SELECTED_OR_NONE[..], &more].concat())
}

/// Checks of databases with this result.
pub(super) fn checks_of_databases(status: &str) -> String {
    let more = ["database!=\"\"", &*no_notes(), &format!("status=\"{status}\"")];
    only(&CHECK_STATUS, &[&SELECTED_OR_NONE[..], &more].concat())
}

/// 1 for each replica of which this check has this result.
pub(super) fn one_check(check: &str, status: &str) -> String {
    let more = [&*format!("check=\"{check}\""), &format!("status=\"{status}\"")];
    only(&CHECK_STATUS, &[&SELECTED_OR_NONE[..], &more].concat())
}

/// 1 for each replica whose lag nobody knows.
pub(super) fn lag_unknown() -> String {
    one_check("ReplicationLag", "unknown")
}

/// The lag of replicas of which it is known. The number itself stays for a while what it was last known to be.
pub(super) fn lag() -> String {
    let unknown = lag_unknown();
    promql!("({LAG} unless on (job, instance, database, replica) {unknown})", LAG)
}

/// A series for each replica of which a critical rule of one of these checks holds.
pub(super) fn breaks(checks: &str) -> String {
    let more = [&*format!("check=~\"{checks}\""), "severity=\"critical\""];
    only(&CHECK_BREACH, &[&SELECTED_OR_NONE[..], &more].concat())
}

/// From which nothing restores.
const NOTHING_RESTORES: &str = "NeverReplicated|NotRestorable";

/// The number of replicas whose latest state restores: what others have does not count.
pub(super) fn sound(number: &Number) -> String {
    let broken = breaks(&format!("{NOTHING_RESTORES}|ReplicaCorrupt"));
    format!("({} unless on (job, instance, database, replica) {broken})", of(number))
}

/// The greatest or the least (`max`, `min`) among the replicas of each database.
pub(super) fn of_each_database(best: &str, of: &str) -> String {
    format!("{best} by (job, instance, database) ({of})")
}

/// Committed bytes that are in no replica, of all databases, each counted once: what an observer says of a replica is left out
/// where the agent beside the database says it as well. Which replicas are the same shows by their URLs, which the smallest
/// profile does not have.
pub(super) fn could_be_lost(profile: Profile) -> String {
    let bytes = sound(&UNREPLICATED_BYTES);
    // What an observer watches has no files, and no size.
    let beside = promql!("on (job, instance, database) {SIZE_BYTES}", SIZE_BYTES);
    let told = promql!(
        "({INFO} and {beside} and on (job, instance, database, replica) {UNREPLICATED_BYTES})",
        INFO,
        UNREPLICATED_BYTES
    );
    let twice = promql!("(({INFO} unless {beside}) and on (url) {told})", INFO);
    let once = format!("{bytes} unless on (job, instance, database, replica) {twice}");
    let bytes = if super::super::promql::profile(&once) <= profile { once } else { bytes };
    format!("sum({})", of_each_database("min", &bytes))
}

/// The known lag of replicas as a share of their objective.
pub(super) fn lag_of_objective() -> String {
    let lag = lag();
    promql!("{lag} / {RPO}", RPO)
}

/// How old the proof of a replica is, as a share of the age at which it is too old.
pub(super) fn proof_age() -> String {
    promql!(
        "(time() - ({VERIFIED_AT} or {WATCHED_SINCE})) / ({PROOF_AGE_INTERVALS} * {VERIFY_INTERVAL} + {PROOF_AGE_SLACK_SECONDS})",
        VERIFIED_AT,
        WATCHED_SINCE,
        VERIFY_INTERVAL
    )
}

/// How many series there are of a trouble: none is 0 only where there is something that could be in trouble.
pub(super) fn how_many(trouble: &str, among: &str) -> String {
    format!("count({trouble}) or 0 * count({among})")
}

/// As [`how_many`], among agents that report.
pub(super) fn how_many_reported(trouble: &str) -> String {
    how_many(trouble, &of(&REPORT_AT))
}

/// How many replicas there are whose latest state does not restore. None is 0 only where that is known of all.
pub(super) fn not_restorable() -> String {
    let broken = breaks(&format!("{NOTHING_RESTORES}|ReplicaCorrupt|ReplicaGap"));
    let unknown = one_check("NotRestorable", "unknown");
    promql!(
        "count(count by (job, instance, database, replica) ({broken})) or (0 * count({REPORT_AT}) unless count({unknown}))",
        REPORT_AT
    )
}

/// The share of time within the recovery point objective, over 30 days: a recorded series.
pub(super) fn rpo_met_over_30_days() -> String {
    selection(RPO_MET_30_DAYS, &["database", "replica"], &[])
}

/// Whether targets that have been an agent in the time shown answer: other jobs have an `up` as well.
pub(super) fn up() -> String {
    of_agents(&selection("up", &[], &[]), "job")
}

/// The alerts that Prometheus has for agents, and for the databases that are selected, if any can be. That there is no agent
/// is an alert without an instance.
pub(super) fn firing(databases: Databases) -> String {
    let firing = "alertstate=\"firing\"";
    let matchers = match databases {
        Databases::None => vec![firing],
        Databases::Some | Databases::All => [&SELECTED_OR_NONE[..], &[firing]].concat(),
    };
    let absent = format!("ALERTS{{job=~\"$job\",instance=~\"$instance|\",alertname=\"AgentAbsent\",{firing}}}");
    format!("{} or {absent}", of_agents(&selection("ALERTS", &[], &matchers), "job"))
}

/// A number that every program exports, of the agents alone.
pub(super) fn of_process(number: &Number) -> String {
    of_agents(&of(number), "job, instance")
}

/// Where an agent was started.
pub(super) fn starts() -> String {
    of_agents(&format!("changes({}[$__rate_interval]) > 0", of(&PROCESS_START_TIME)), "job, instance")
}

/// How fast a counter that every program exports counts in agents.
pub(super) fn rate_of_process(number: &Number) -> String {
    of_agents(&rate(number), "job, instance")
}

fn of_agents(series: &str, labels: &str) -> String {
    format!("{series} and on ({labels}) last_over_time({}[$__range])", of(&BUILD))
}
