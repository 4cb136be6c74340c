//! What a number or a check is about: the kinds of it, and everything of one kind in an assessment.

use crate::domain::assessment::{
    AgentReport, Assessment, BucketReport, CollectorReport, DatabaseReport, ReceiverReport, ReplicaReport,
    SourceReport, StoreReport,
};

/// The kinds of [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Agent,
    Source,
    Collector,
    Store,
    Bucket,
    Receiver,
    Database,
    Replica,
    /// Only Prometheus can see it, from outside the agent.
    Outside,
}

/// One thing that was assessed.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    Agent(&'a Assessment),
    Source(&'a SourceReport),
    Collector(&'a CollectorReport),
    Store(&'a StoreReport),
    Bucket(&'a BucketReport),
    Receiver(&'a ReceiverReport),
    Database(&'a DatabaseReport),
    Replica(&'a DatabaseReport, &'a ReplicaReport),
}

impl Scope {
    /// The labels that tell subjects of this kind apart, besides those that the scrape adds.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Agent | Self::Outside => &[],
            Self::Source => &["source"],
            Self::Collector => &["collector"],
            Self::Store => &["store"],
            Self::Bucket => &["bucket"],
            Self::Receiver => &["receiver"],
            Self::Database => &["database"],
            Self::Replica => &["database", "replica"],
        }
    }

    /// Everything of this kind.
    pub fn subjects(self, assessment: &Assessment) -> Box<dyn Iterator<Item = Subject<'_>> + '_> {
        let AgentReport { sources, collectors, stores, buckets, receivers, .. } = &assessment.agent;
        let databases = assessment.databases.iter();
        match self {
            Self::Agent => Box::new(std::iter::once(Subject::Agent(assessment))),
            Self::Source => Box::new(sources.iter().map(Subject::Source)),
            Self::Collector => Box::new(collectors.iter().map(Subject::Collector)),
            Self::Store => Box::new(stores.iter().map(Subject::Store)),
            Self::Bucket => Box::new(buckets.iter().map(Subject::Bucket)),
            Self::Receiver => Box::new(receivers.iter().map(Subject::Receiver)),
            Self::Database => Box::new(databases.map(|database| Subject::Database(database))),
            Self::Replica => Box::new(databases.flat_map(|database| Subject::replicas(database))),
            Self::Outside => Box::new(std::iter::empty()),
        }
    }
}

impl<'a> Subject<'a> {
    /// The replicas of a database.
    pub fn replicas(database: &'a DatabaseReport) -> impl Iterator<Item = Self> {
        database.replicas.iter().map(move |replica| Self::Replica(database, replica))
    }

    /// The values of the labels of its kind; those that it does not have are empty.
    pub fn label_values(self) -> [&'a str; 2] {
        match self {
            Self::Agent(_) => ["", ""],
            Self::Source(source) => [&source.source, ""],
            Self::Collector(collector) => [collector.collector, ""],
            Self::Store(store) => [store.store.as_str(), ""],
            Self::Bucket(bucket) => [&bucket.bucket, ""],
            Self::Receiver(receiver) => [&receiver.receiver, ""],
            Self::Database(database) => [&database.name, ""],
            Self::Replica(database, replica) => [&database.name, &replica.name],
        }
    }

    /// The database, or that of the replica.
    pub fn database(self) -> Option<&'a DatabaseReport> {
        match self {
            Self::Database(database) | Self::Replica(database, _) => Some(database),
            _ => None,
        }
    }
}

/// The subject where it is of one kind; `None` where it is of another.
macro_rules! kinds {
    ($($kind:ident $name:ident $report:ty;)*) => {
        impl<'a> Subject<'a> {
            $(pub fn $name(self) -> Option<&'a $report> {
                match self {
                    Self::$kind(.., it) => Some(it),
                    _ => None,
                }
            })*
        }
    };
}

kinds! {
    Agent agent Assessment;
    Source source SourceReport;
    Collector collector CollectorReport;
    Store store StoreReport;
    Bucket bucket BucketReport;
    Receiver receiver ReceiverReport;
    Replica replica ReplicaReport;
}
