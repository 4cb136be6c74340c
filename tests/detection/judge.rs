//! Two judges of one scenario: the built-in engine, which sees the reports, and Prometheus, which sees their metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use streamgauge::delivery::render::metrics::openmetrics;
use streamgauge::domain::check::catalogue;
use streamgauge::domain::number::Scope;
use streamgauge::domain::report::Report;

use crate::engine::Engine;
use crate::lab::Lab;
use crate::world::Seen;

/// Seconds between two looks of either judge.
pub(crate) const STEP: i64 = 15;

/// Prometheus' clock at a scenario's beginning; what is older is still an instant after 1970.
const ORIGIN: i64 = 7200;

/// Which alert: `alertname`, `severity` and the labels of the subject.
pub(crate) type Labels = BTreeMap<String, String>;

/// Values by `name{labels}`.
type Samples = Vec<(String, f64)>;

/// What both judges are given of one scenario, and what the engine says.
pub(crate) struct Recording {
    /// The `instance` label.
    pub(crate) name: &'static str,
    /// Checks of which Prometheus alone is expected to say something else.
    alone: &'static [&'static str],
    /// By `name{labels}`, a value for each step.
    series: BTreeMap<String, Vec<Option<f64>>>,
    /// The alerts that are pending or fire at each step; `true` for those that fire.
    pub(crate) alerts: Vec<BTreeMap<Labels, bool>>,
    engine: Engine,
    seen: Option<(Arc<Report>, Samples)>,
}

impl Recording {
    pub(crate) fn new(name: &'static str, alone: &'static [&'static str]) -> Self {
        Self { name, alone, series: BTreeMap::new(), alerts: Vec::new(), engine: Engine::new(name), seen: None }
    }

    /// One step.
    pub(crate) fn see(&mut self, wanted: &BTreeSet<String>, seen: &Seen) {
        let report = seen.report.as_ref();
        let step = self.alerts.len();
        let up = f64::from(report.is_some());
        let mut samples = vec![(format!("up{{instance=\"{}\",job=\"streamgauge\"}}", self.name), up)];
        // Prometheus' clock is right, and may not be the agent's; it reads at 750 ms.
        let shift = (crate::world::START - ORIGIN) as f64 + 0.75;
        if let Some(report) = report {
            if self.seen.as_ref().is_none_or(|(seen, _)| !Arc::ptr_eq(seen, report)) {
                self.seen = Some((Arc::clone(report), self.samples(report, wanted)));
            }
            for (series, value) in self.seen.iter().flat_map(|(_, samples)| samples) {
                let instant = series.split('{').next().is_some_and(|name| name.ends_with("_timestamp_seconds"));
                samples.push((series.clone(), if instant { value - shift } else { *value }));
            }
        }
        for (series, value) in samples {
            let values = self.series.entry(series).or_default();
            values.resize(step, None);
            values.push(Some(value));
        }
        self.alerts.push(self.engine.evaluate(seen));
    }

    fn samples(&self, report: &Arc<Report>, wanted: &BTreeSet<String>) -> Samples {
        let text = openmetrics(report);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let end = line.find(['{', ' '])?;
            let (name, rest) = line.split_at(end);
            wanted.contains(name).then_some(())?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap_or_default();
            let comma = if labels.is_empty() { "" } else { "," };
            let series = format!("{name}{{instance=\"{}\",job=\"streamgauge\"{comma}{labels}}}", self.name);
            Some((series, value.parse().unwrap()))
        });
        samples.collect()
    }

    /// The alerts that fire at a step.
    fn firing(&self, step: usize) -> BTreeSet<&Labels> {
        let alerts = self.alerts.get(step).into_iter().flatten();
        alerts.filter(|(_, firing)| **firing).map(|(labels, _)| labels).collect()
    }

    /// The steps at which Prometheus is asked: where something changes, the one before, and every five minutes. What reads
    /// the findings of the agent may see a change one step `late`.
    fn questions(&self, late: bool) -> BTreeSet<usize> {
        let steps = 0..self.alerts.len();
        let changed = |step: &usize| *step > 0 && self.firing(*step) != self.firing(step - 1);
        let changes = steps.clone().filter(changed).flat_map(|step| [step - 1, step + usize::from(late)]);
        let asked = changes.chain(steps.clone().step_by(20)).filter(|step| steps.contains(step));
        asked.filter(|step| !(late && changed(step))).collect()
    }
}

/// Values as promtool takes them.
fn values(samples: &[Option<f64>], steps: usize) -> String {
    let mut text = format!("_x{}", ORIGIN / STEP);
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|value| *value == first).count();
        match first {
            Some(value) => write!(text, " {value}+0x{}", length - 1),
            None if rest.len() == samples.len() => write!(text, " _x{length}"),
            // Otherwise Prometheus takes the last one for five minutes more.
            None if length == 1 => write!(text, " stale"),
            None => write!(text, " stale _x{}", length - 1),
        }
        .unwrap();
        rest = &rest[length..];
    }
    if samples.len() < steps {
        text.push_str(" stale");
    }
    text
}

fn show(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    pairs.join(",")
}

/// Asks the real rules what fires, and says where that is not what the engine said.
pub(crate) fn promtool(
    lab: &Lab,
    version: &str,
    home: &Path,
    (rules, late): (&Path, bool),
    recordings: &[Recording],
) -> Option<String> {
    let steps = recordings.iter().map(|recording| recording.alerts.len()).max().unwrap_or(0);
    let mut test = format!(
        "rule_files: [{}]\nevaluation_interval: {STEP}s\ntests:\n  - interval: {STEP}s\n    input_series:\n",
        rules.display()
    );
    for (series, samples) in recordings.iter().flat_map(|recording| &recording.series) {
        writeln!(test, "      - series: '{series}'\n        values: '{}'", values(samples, steps)).unwrap();
    }
    test.push_str("    promql_expr_test:\n");
    // What only Prometheus sees is not the engine's to say.
    let known = catalogue().filter(|check| check.scope() != Scope::Outside).map(|check| check.name);
    for recording in recordings {
        let known: Vec<_> = known.clone().filter(|check| !recording.alone.contains(check)).collect();
        let known = known.join("|");
        for step in recording.questions(late) {
            let at = ORIGIN + step as i64 * STEP;
            let expr =
                format!("ALERTS{{alertstate=\"firing\",instance=\"{}\",alertname=~\"{known}\"}}", recording.name);
            writeln!(test, "      - expr: '{expr}'\n        eval_time: {at}s\n        exp_samples:").unwrap();
            for labels in recording.firing(step) {
                writeln!(test, "          - {{labels: 'ALERTS{{alertstate=\"firing\",{}}}', value: 1}}", show(labels))
                    .unwrap();
            }
        }
    }
    let path = home.join(format!("{version}.test.yml"));
    fs::write(&path, test).unwrap();
    let output = lab.promtool(version).args(["test", "rules"]).arg(&path).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (!output.status.success()).then(|| format!("{version}:\n{said}"))
}
