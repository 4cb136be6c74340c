//! What an alert is about: whether it is watched, and has been looked at.

use super::Key;
use crate::domain::assessment::{Assessment, DatabaseState};
use crate::domain::number::{Scope, Subject};

/// What an alert is about, where the report has it at all.
pub(super) fn subject_of<'a>(scope: Scope, key: &Key, assessment: &'a Assessment) -> Option<Subject<'a>> {
    let is_it = |subject: &Subject<'_>| subject.label_values() == key.values;
    match scope {
        Scope::Database | Scope::Replica => {
            let database = &assessment.databases[assessment.position(&key.values[0])?];
            match scope {
                Scope::Database => Some(Subject::Database(database)),
                _ => Subject::replicas(database).find(is_it),
            }
        }
        _ => scope.subjects(assessment).find(is_it),
    }
}

/// Whether it is not known yet what the rules would say.
pub(super) fn asleep(scope: Scope, key: &Key, assessment: &Assessment, restored: bool) -> bool {
    match scope {
        Scope::Database | Scope::Replica => {
            let [name, replica] = &key.values;
            let Some(at) = assessment.position(name) else { return false };
            let database = &assessment.databases[at];
            let of_it = |name: &str| scope == Scope::Database || name == replica;
            database.state == DatabaseState::Pending
                || database.replicas.iter().any(|replica| replica.up.is_none() && of_it(&replica.name))
        }
        // Sources, stores and receivers come with the first looks.
        _ => restored && !assessment.complete,
    }
}
