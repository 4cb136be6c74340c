//! The records of a replica's objects, in the order of their names.

use super::record::Record;
use crate::domain::litestream::ObjectName;

/// A map of few entries, which are mostly added at the end: most replicas have two or three, for which a tree would keep
/// room for eleven.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Records(Vec<(ObjectName, Box<Record>)>);

impl Records {
    fn find(&self, name: &ObjectName) -> Result<usize, usize> {
        self.0.binary_search_by_key(name, |(known, _)| *known)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains_key(&self, name: &ObjectName) -> bool {
        self.find(name).is_ok()
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Record> {
        self.find(name).ok().map(|at| &*self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, name: &ObjectName) -> Option<&mut Record> {
        self.find(name).ok().map(|at| &mut *self.0[at].1)
    }

    /// The one of an object, which is made if there is none.
    pub(super) fn get_or_insert_with(&mut self, name: ObjectName, make: impl FnOnce() -> Record) -> &mut Record {
        let at = self.find(&name).unwrap_or_else(|at| {
            if self.0.len() < 4 {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, (name, Box::new(make())));
            at
        });
        &mut self.0[at].1
    }

    pub(super) fn remove(&mut self, name: &ObjectName) {
        self.find(name).ok().map(|at| self.0.remove(at));
    }

    /// The one before a name.
    pub(super) fn before(&self, name: ObjectName) -> Option<(ObjectName, &Record)> {
        let at = self.0.partition_point(|(known, _)| *known < name).checked_sub(1)?;
        self.0.get(at).map(|(name, record)| (*name, &**record))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&ObjectName, &Record)> {
        self.0.iter().map(|(name, record)| (name, &**record))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&ObjectName, &mut Record)> {
        self.0.iter_mut().map(|(name, record)| (&*name, &mut **record))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Record> {
        self.iter().map(|(_, record)| record)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.iter_mut().map(|(_, record)| record)
    }
}

impl FromIterator<(ObjectName, Record)> for Records {
    /// Of two of one name the last one counts.
    fn from_iter<T: IntoIterator<Item = (ObjectName, Record)>>(all: T) -> Self {
        let mut records = Self::default();
        for (name, record) in all {
            match records.find(&name) {
                Ok(at) => *records.0[at].1 = record,
                Err(at) => records.0.insert(at, (name, Box::new(record))),
            }
        }
        records.0.shrink_to_fit();
        records
    }
}
