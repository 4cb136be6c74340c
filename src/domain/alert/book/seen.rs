//! Whether what an alert is about is watched, and has been looked at.

use super::Key;
use crate::domain::assessment::{Assessment, DatabaseState};
use crate::domain::number::Scope;

/// Whether the report has the subject at all.
pub(super) fn watched(scope: Scope, key: &Key, assessment: &Assessment) -> bool {
    let [name, replica] = &key.values;
    match scope {
        Scope::Database | Scope::Replica => assessment.position(name).is_some_and(|at| {
            scope == Scope::Database || assessment.databases[at].replicas.iter().any(|known| known.name == *replica)
        }),
        _ => scope.subjects(assessment).any(|subject| subject.label_values() == key.values),
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
