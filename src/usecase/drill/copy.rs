//! The examination of the restored copy: its hash, SQLite's own checks, foreign keys, the user's probes.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::spawn_blocking;

use super::live::LiveView;
use super::outcome::{CONSTRAINTS, FOREIGN_KEYS, ONLY_IN_FULL, Stop, damage, trouble};
use super::{Drill, blocking};
use crate::domain::drill::probe::judge;
use crate::domain::drill::{DrillProbe, DrillResult, Integrity, ProbeRecord};
use crate::domain::human::{agree, and_more, counted};
use crate::domain::limits::{DRILL_PROBLEMS_MAX, PROBE_GRACE, PROBE_TIMEOUT};
use crate::domain::reason::Reason;
use crate::domain::restore::{RestorePlan, Restored};
use crate::usecase::ports::RestoredCopy;

/// The finding when SQLite's quick check finds no problem.
const QUICK_OK: &str = "ok: pages, rows, NOT NULL and the types of STRICT tables";

/// The same of its full one.
const FULL_OK: &str = "ok: pages, rows, indexes, UNIQUE, NOT NULL and the types of STRICT tables";

/// SQLite's part, which goes back and forth between threads.
type Copy = Box<dyn RestoredCopy>;

impl Drill {
    /// Reads and asks what was restored.
    pub(super) async fn inspect(
        &mut self,
        plan: &RestorePlan,
        restored: &Restored,
        view: &LiveView,
    ) -> Result<(), Stop> {
        self.parts.news.step("checking");
        let (space, page_size, full) = (Arc::clone(&self.parts.space), restored.page_size, plan.base.is_none());
        // Hashing and checking read the same pages at the same time, while they are in the cache.
        let digest = blocking(move || if full { space.digest(page_size).map(Some) } else { Ok(None) });
        let (begun, clock, file) = (self.recovering, Arc::clone(&self.parts.clock), self.restored.take());
        let on_disk = blocking(move || {
            file.map_or(Ok(()), |file| file.sync())?;
            Ok((clock.now().mono() - begun).as_secs_f64())
        });
        let (digest, on_disk, checked) = tokio::join!(digest, on_disk, self.ask(full));
        self.record.restore_seconds = Some(on_disk.map_err(Stop::inconclusive)?);
        let copy = checked?;
        let digest = digest.map_err(Stop::inconclusive)?;
        if let (Some(restored), Some(digest)) = (&mut self.record.restored, &digest) {
            restored.sha256 = Some(digest.sha256.clone());
        }
        if let Some(copy) = copy {
            self.probes(copy).await;
        }
        self.compare(restored, digest.as_ref(), view);
        Ok(())
    }

    /// SQLite's own checks. `None` when the copy is no database that could be asked anything more.
    async fn ask(&mut self, full: bool) -> Result<Option<Copy>, Stop> {
        let since = self.mono();
        let space = Arc::clone(&self.parts.space);
        let remaining = self.remaining();
        let opened = blocking(move || {
            let mut copy = space.open()?;
            copy.set_deadline(remaining);
            copy.schema().map(|()| copy)
        });
        let mut copy = match opened.await {
            Ok(copy) => copy,
            Err(reason) => {
                self.check("open", damage(&reason), reason.message, since);
                return Ok(None);
            }
        };
        let integrity = self.job.policy.integrity;
        let check = match integrity {
            Integrity::None => None,
            Integrity::Quick => Some(("quick_check", QUICK_OK)),
            Integrity::Full => Some(("integrity_check", FULL_OK)),
        };
        if let Some((name, ok)) = check {
            let since = self.mono();
            let (back, found) = self.question(name, full, copy, move |copy| copy.integrity(integrity)).await?;
            copy = back;
            let constraints =
                found.as_ref().and_then(|found| found.as_ref().ok()).map(|found| found.constraints.clone());
            self.verdict(name, ok, found.map(|found| found.map(|found| problems(found.problems))), since);
            match constraints {
                Some(Ok(violations)) => self.verdict(CONSTRAINTS, "ok", Some(Ok(problems(violations))), since),
                Some(Err(why)) => {
                    self.check(CONSTRAINTS, DrillResult::Inconclusive, format!("not verified: {why}"), since)
                }
                // The check that they are part of says why.
                None => {}
            }
        }
        if self.job.policy.foreign_keys {
            let since = self.mono();
            let (back, found) = self.question(FOREIGN_KEYS, full, copy, |copy| copy.foreign_keys()).await?;
            copy = back;
            self.verdict(FOREIGN_KEYS, "ok", found.map(|found| found.map(violations)), since);
        }
        Ok(Some(copy))
    }

    /// Asks what takes reading the whole database. `None`: that is left to a full drill.
    async fn question<T: Send + 'static>(
        &self,
        name: &'static str,
        full: bool,
        mut copy: Copy,
        ask: impl FnOnce(&mut Copy) -> Result<T, Reason> + Send + 'static,
    ) -> Result<(Copy, Option<Result<T, Reason>>), Stop> {
        if !full {
            return Ok((copy, None));
        }
        self.parts.news.step(name);
        let (copy, answer) = blocking(move || {
            let answer = ask(&mut copy);
            Ok((copy, answer))
        })
        .await
        .map_err(Stop::inconclusive)?;
        Ok((copy, Some(answer)))
    }

    /// Notes the answer to a question, which is what is wrong.
    fn verdict(&mut self, name: &str, ok: &str, answer: Option<Result<Option<String>, Reason>>, since: SignedDuration) {
        let (result, detail) = match answer {
            None => (DrillResult::Inconclusive, ONLY_IN_FULL.to_owned()),
            Some(Ok(None)) => (DrillResult::Passed, ok.to_owned()),
            Some(Ok(Some(wrong))) => (DrillResult::Failed, wrong),
            Some(Err(reason)) => (damage(&reason), reason.message),
        };
        self.check(name, result, detail, since);
    }

    /// Asks the probes. What is found out is noted at once, so that it is not lost with one that does not end.
    async fn probes(&mut self, copy: Copy) {
        if self.job.policy.probes.is_empty() {
            return;
        }
        self.parts.news.step("probes");
        let mut copy = Some(copy);
        for probe in self.job.policy.probes.clone() {
            let (back, record) = match copy.take() {
                Some(copy) => answered(copy, probe, self.record.started_at).await,
                None => (None, unanswered(&probe, "not run, because the check before it did not finish")),
            };
            copy = back;
            self.record.probes.push(record);
        }
    }

    /// Time left until the drill is ended.
    fn remaining(&self) -> Duration {
        let spent = Duration::try_from(self.mono() - self.begun).unwrap_or_default();
        self.parts.timeout.saturating_sub(spent)
    }
}

/// Asks one probe. Without the copy when SQLite did not come back in time: some functions never look at a deadline, and
/// what they do ends with the process.
async fn answered(mut copy: Copy, probe: DrillProbe, started: Timestamp) -> (Option<Copy>, ProbeRecord) {
    let query = probe.query.clone();
    let asking = spawn_blocking(move || {
        let answer = copy.probe(&query);
        (copy, answer)
    });
    match tokio::time::timeout(PROBE_TIMEOUT + PROBE_GRACE, asking).await {
        Ok(Ok((copy, Ok(answer)))) => (Some(copy), judge(&probe, &answer, started)),
        Ok(Ok((copy, Err(reason)))) => {
            let result = trouble(&reason);
            (Some(copy), ProbeRecord { result, ..unanswered(&probe, &reason.message) })
        }
        Ok(Err(error)) => (None, unanswered(&probe, &error.to_string())),
        Err(_) => (None, unanswered(&probe, "it took too long, and will end with the drill's process")),
    }
}

fn unanswered(probe: &DrillProbe, why: &str) -> ProbeRecord {
    ProbeRecord { name: probe.name.clone(), result: DrillResult::Inconclusive, value: None, detail: why.to_owned() }
}

fn problems(problems: Vec<String>) -> Option<String> {
    let first = problems.first()?;
    Some(match problems.len() {
        count if count >= DRILL_PROBLEMS_MAX as usize => format!("{first}, and at least {} more", count - 1),
        count => format!("{first}{}", and_more(count)),
    })
}

fn violations((count, first): (u64, Option<String>)) -> Option<String> {
    let first = first.unwrap_or_default();
    match count {
        0 => None,
        count => Some(format!("{}{} {first}", counted(count, "violation"), agree(&count, ":", ", such as:"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::domain::drill::Expectation;
    use crate::domain::drill::probe::Answer;
    use crate::usecase::ports::{RestoredCopy, Soundness};

    /// Whose probes do not end before they are told to.
    struct Stuck(Receiver<()>);

    impl RestoredCopy for Stuck {
        fn set_deadline(&mut self, _: Duration) {}

        fn schema(&mut self) -> Result<(), Reason> {
            Ok(())
        }

        fn integrity(&mut self, _: Integrity) -> Result<Soundness, Reason> {
            Ok(Soundness { problems: Vec::new(), constraints: Ok(Vec::new()) })
        }

        fn foreign_keys(&mut self) -> Result<(u64, Option<String>), Reason> {
            Ok((0, None))
        }

        fn probe(&mut self, _: &str) -> Result<Answer, Reason> {
            // An end, too, when the test fails.
            let _ = self.0.recv();
            Ok(Answer::Integer(1))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_does_not_end_is_left_to_itself() {
        let probe = DrillProbe { name: "p".into(), query: "select 1".into(), expect: Expectation::default() };
        let (release, stuck) = channel();
        let asked = tokio::spawn(answered(Box::new(Stuck(stuck)), probe.clone(), Timestamp::UNIX_EPOCH));
        // It has to be waiting before time goes on.
        tokio::task::yield_now().await;
        tokio::time::advance(PROBE_TIMEOUT + PROBE_GRACE + Duration::from_secs(1)).await;
        let (copy, record) = asked.await.unwrap();
        assert!(copy.is_none());
        assert_eq!((record.result, record.detail.contains("too long")), (DrillResult::Inconclusive, true));
        drop(release);

        let (release, stuck) = channel();
        release.send(()).unwrap();
        let (copy, record) = answered(Box::new(Stuck(stuck)), probe, Timestamp::UNIX_EPOCH).await;
        assert_eq!((copy.is_some(), record.result), (true, DrillResult::Passed));
    }
}
