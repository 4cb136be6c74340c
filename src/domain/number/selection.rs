//! Which numbers a configuration selects.

use super::declare::Number;
use super::subject::Subject;
use crate::domain::assessment::DatabaseReport;
use crate::domain::profile::{Profile, Selection};

impl Selection {
    /// Whether the number is served of the subject. A number of the report that has values of databases asks this about
    /// each of them, too.
    pub fn wants(&self, number: &Number, of: Subject<'_>) -> bool {
        let reached = |database: &DatabaseReport| self.reaches(number.name, number.profile, database.metrics);
        !self.exclude.contains(number.name) && of.database().is_none_or(reached)
    }

    /// Whether those of its values are served that only the full profile has.
    pub fn wants_all(&self, number: &Number, database: &DatabaseReport) -> bool {
        self.reaches(number.name, Profile::Full, database.metrics)
    }
}
