//! How alerts end: their rules no longer hold, or nobody knows.

use std::sync::Arc;

use super::seen::{asleep, subject_of};
use super::{ASLEEP_MAX, AlertBook, Armed};
use crate::domain::assessment::Assessment;
use crate::domain::check::Watching;
use crate::domain::limits::RESOLVED_RETENTION;
use crate::domain::moment::{Moment, signed};
use crate::domain::number::Scope;
use crate::domain::verdict::Status;

impl AlertBook {
    /// Moves on the alerts whose rules do not hold.
    pub(super) fn end_others(&mut self, assessment: &Assessment, now: Moment) {
        let Self { rules, tracked, evaluation, turned, changed, .. } = self;
        tracked.retain(|key, tracked| {
            if tracked.held == *evaluation {
                return true;
            }
            let Armed { check, rule, .. } = rules[key.rule];
            if let Some(resolved) = tracked.resolved {
                let kept = now.since(resolved) <= signed(RESOLVED_RETENTION);
                *changed |= !kept;
                return kept;
            }
            if !tracked.left && asleep(check.scope(), key, assessment, tracked.restored) {
                let since = *tracked.asleep_since.get_or_insert(now);
                if now.since(since) < ASLEEP_MAX {
                    return true;
                }
            } else {
                (tracked.asleep_since, tracked.restored) = (None, false);
            }
            if tracked.ended.is_none() && matches!(check.scope(), Scope::Database | Scope::Replica) {
                turned.insert(key.values[0].clone());
            }
            if tracked.fired.is_none() {
                *changed = true;
                return false;
            }
            let ended = *tracked.ended.get_or_insert(now);
            let is_over = now.since(ended) >= signed(rule.keep_firing);
            if tracked.alert.ended_at.is_some() && !is_over {
                return true;
            }
            let subject = subject_of(check.scope(), key, assessment);
            let seen = subject.and_then(|subject| check.verdict(subject, now.wall(), Watching::Continuously));
            let unknown = seen.filter(|verdict| verdict.status == Status::Unknown && !tracked.left);
            if subject.is_some() && unknown.is_none() && tracked.alert.ended_at.is_none() {
                Arc::make_mut(&mut tracked.alert).ended_at = Some(now.wall());
                *changed = true;
            }
            if is_over {
                let subject = subject.filter(|_| !tracked.left);
                let alert = tracked.end(now);
                match (subject, unknown) {
                    (None, _) => alert.end_unwatched(),
                    (_, Some(verdict)) => alert.end_unknown(&verdict.detail),
                    (_, None) => {}
                }
                *changed = true;
            }
            true
        });
    }
}
