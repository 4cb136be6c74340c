//! What is asked of the restored copy: its hash, SQLite's own checks, foreign keys, the user's probes.

use std::sync::Arc;
use std::time::Duration;

use super::live::LiveView;
use super::outcome::{FOREIGN_KEYS, ONLY_IN_FULL, Stop, damage, trouble};
use super::{Drill, blocking};
use crate::domain::drill::probe::judge;
use crate::domain::drill::{DrillProbe, DrillResult, Integrity, ProbeRecord};
use crate::domain::limits::DRILL_PROBLEMS_MAX;
use crate::domain::reason::Reason;
use crate::domain::restore::{RestorePlan, Restored};
use crate::usecase::ports::RestoredCopy;

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
            Ok((clock.now().mono - begun).as_secs_f64())
        });
        let (digest, on_disk, checked) = tokio::join!(digest, on_disk, self.ask(full));
        self.record.restore_seconds = Some(on_disk.map_err(Stop::inconclusive)?);
        let copy = checked?;
        let digest = digest.map_err(Stop::inconclusive)?;
        if let (Some(restored), Some(digest)) = (&mut self.record.restored, &digest) {
            restored.sha256 = Some(digest.sha256.clone());
        }
        if let Some(copy) = copy {
            self.probes(copy).await?;
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
        let name = match integrity {
            Integrity::None => None,
            Integrity::Quick => Some("quick_check"),
            Integrity::Full => Some("integrity_check"),
        };
        if let Some(name) = name {
            copy = self.question(name, full, copy, move |copy| copy.integrity(integrity).map(problems)).await?;
        }
        if self.job.policy.foreign_keys {
            copy = self.question(FOREIGN_KEYS, full, copy, |copy| copy.foreign_keys().map(violations)).await?;
        }
        Ok(Some(copy))
    }

    /// One check that reads the whole database. Its answer is what is wrong.
    async fn question(
        &mut self,
        name: &'static str,
        full: bool,
        mut copy: Copy,
        ask: impl FnOnce(&mut Copy) -> Result<Option<String>, Reason> + Send + 'static,
    ) -> Result<Copy, Stop> {
        let since = self.mono();
        if !full {
            self.check(name, DrillResult::Inconclusive, ONLY_IN_FULL.to_owned(), since);
            return Ok(copy);
        }
        self.parts.news.step(name);
        let (copy, answer) = blocking(move || {
            let answer = ask(&mut copy);
            Ok((copy, answer))
        })
        .await
        .map_err(Stop::inconclusive)?;
        let (result, detail) = match answer {
            Ok(None) => (DrillResult::Passed, "ok".to_owned()),
            Ok(Some(wrong)) => (DrillResult::Failed, wrong),
            Err(reason) => (damage(&reason), reason.message),
        };
        self.check(name, result, detail, since);
        Ok(copy)
    }

    async fn probes(&mut self, copy: Copy) -> Result<(), Stop> {
        if self.job.policy.probes.is_empty() {
            return Ok(());
        }
        self.parts.news.step("probes");
        let (probes, started) = (self.job.policy.probes.clone(), self.record.started_at);
        let mut copy = copy;
        self.record.probes = blocking(move || {
            let answer = |probe: &DrillProbe| match copy.probe(&probe.query) {
                Ok(answer) => judge(probe, &answer, started),
                Err(reason) => ProbeRecord {
                    name: probe.name.clone(),
                    result: trouble(&reason),
                    value: None,
                    detail: reason.message,
                },
            };
            Ok(probes.iter().map(answer).collect())
        })
        .await
        .map_err(Stop::inconclusive)?;
        Ok(())
    }

    /// Time left until the drill is ended.
    fn remaining(&self) -> Duration {
        let spent = Duration::try_from(self.mono() - self.begun).unwrap_or_default();
        self.parts.timeout.saturating_sub(spent)
    }
}

fn problems(problems: Vec<String>) -> Option<String> {
    let first = problems.first()?;
    Some(match problems.len() {
        1 => first.clone(),
        count if count >= DRILL_PROBLEMS_MAX as usize => format!("{first}, and at least {} more", count - 1),
        count => format!("{first}, and {} more", count - 1),
    })
}

fn violations((count, first): (u64, Option<String>)) -> Option<String> {
    let first = first.unwrap_or_default();
    match count {
        0 => None,
        1 => Some(format!("1 violation: {first}")),
        count => Some(format!("{count} violations, such as: {first}")),
    }
}
