//! Which alerts make others superfluous.

use super::super::verdict::Severity;

/// While the source fires, nobody is told of the targets that have the same values of the source's labels, as far as they
/// are not worse than it. The table is also what `alerts/alertmanager.example.yml` has Alertmanager do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inhibition {
    /// A check's name.
    pub source: &'static str,
    /// Names of checks.
    pub targets: &'static [&'static str],
}

/// All of them, besides the one that needs no table: what is critical inhibits the warning of the same check and subject.
pub static INHIBITIONS: &[Inhibition] = &[
    // What was seen before it became unreadable cannot be seen to be repaired.
    Inhibition {
        source: "ReplicaUnverifiable",
        targets: &[
            "NeverReplicated",
            "NotRestorable",
            "ReplicaGap",
            "SnapshotStale",
            "RecoveryWindowShort",
            "RetentionNotEnforced",
            "ReplicaRunaway",
            "ReplicaChurn",
            "LagUnknown",
        ],
    },
    // What cannot be read of the database is why nothing can be compared with it.
    Inhibition { source: "DatabaseUnreadable", targets: &["LagUnknown"] },
    Inhibition { source: "DatabaseReplaced", targets: &["LagUnknown"] },
    Inhibition { source: "JournalModeNotWal", targets: &["LagUnknown"] },
    Inhibition { source: "LitestreamDown", targets: &["LagUnknown"] },
    Inhibition { source: "HostGone", targets: &["LagUnknown"] },
    Inhibition { source: "ReplicaRunaway", targets: &["ReplicaChurn"] },
    Inhibition { source: "NeverReplicated", targets: &["SnapshotStale", "RecoveryWindowShort", "RestoreDrillOverdue"] },
    Inhibition { source: "NotRestorable", targets: &["SnapshotStale", "RecoveryWindowShort", "RestoreDrillOverdue"] },
    Inhibition { source: "RestoreDrillFailed", targets: &["RestoreDrillOverdue"] },
];

/// Whether an alert of the one check inhibits one of the other, at these severities, where their labels are equal.
pub(super) fn inhibits(source: (&str, Severity), target: (&str, Severity)) -> bool {
    if source.0 == target.0 {
        return source.1 > target.1;
    }
    let mut named = INHIBITIONS.iter().filter(|inhibition| inhibition.source == source.0);
    source.1 >= target.1 && named.any(|inhibition| inhibition.targets.contains(&target.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::catalogue;

    #[test]
    fn targets_have_the_labels_of_their_source() {
        for inhibition in INHIBITIONS {
            let labels = |name: &str| {
                let check = catalogue().find(|check| check.name == name);
                check.unwrap_or_else(|| panic!("{name} is no check")).scope().labels()
            };
            let source = labels(inhibition.source);
            for target in inhibition.targets {
                assert!(labels(target).starts_with(source), "{target}");
                assert_ne!(*target, inhibition.source);
            }
        }
    }

    #[test]
    fn only_what_is_no_worse_is_inhibited() {
        use Severity::*;
        assert!(inhibits(("ReplicaUnverifiable", Critical), ("ReplicaGap", Critical)));
        assert!(inhibits(("ReplicaUnverifiable", Warning), ("SnapshotStale", Warning)));
        assert!(!inhibits(("ReplicaUnverifiable", Warning), ("ReplicaGap", Critical)));
        assert!(!inhibits(("ReplicaGap", Critical), ("ReplicaUnverifiable", Warning)));
        assert!(inhibits(("ReplicaCorrupt", Critical), ("ReplicaCorrupt", Warning)));
        assert!(!inhibits(("ReplicaCorrupt", Critical), ("ReplicaCorrupt", Critical)));
    }

    #[test]
    fn nothing_inhibits_what_inhibits_it() {
        for one in INHIBITIONS {
            for other in INHIBITIONS.iter().filter(|other| other.targets.contains(&one.source)) {
                assert!(!one.targets.contains(&other.source), "{} and {}", one.source, other.source);
            }
        }
    }
}
