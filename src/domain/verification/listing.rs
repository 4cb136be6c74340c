//! Single objects in the listings of one look; the newest are kept if there are too many.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::limits::{LISTED_FOLDER_MAX, LISTED_OBJECTS_MAX};
use crate::domain::litestream::{Folder, LevelKeys, Listed, LtxHeader, ObjectName};

/// The objects that one look listed.
#[derive(Clone, Debug)]
pub struct Listing {
    pub keys: LevelKeys,
    /// Everything that is there was listed, and what is not here (and above the floors) is gone.
    pub complete: bool,
    /// The objects that a restore of the latest state reads, in the order in which they are applied.
    pub plan: Vec<Listed>,
    /// The plan reaches the newest object.
    pub unbroken: bool,
    /// The plan has the newest objects only: there are more than are remembered.
    pub cut: bool,
    /// The header of the newest file, where the plan leads to it and it says where in the WAL that is.
    pub tip: Option<LtxHeader>,
    folders: BTreeMap<Folder, ListedFolder>,
    objects: usize,
}

/// One folder's objects in the order of their names.
#[derive(Clone, Debug, Default)]
struct ListedFolder {
    objects: VecDeque<Listed>,
    /// The largest name that was listed and is not kept.
    floor: Option<ObjectName>,
}

impl Listing {
    pub fn new(keys: LevelKeys) -> Self {
        let folders = BTreeMap::new();
        Self { keys, complete: false, plan: Vec::new(), unbroken: false, cut: false, tip: None, folders, objects: 0 }
    }

    /// Forgets everything, to list it all again.
    pub fn restart(&mut self) {
        *self = Self { complete: true, ..Self::new(self.keys) };
    }

    /// Adds an object, in the order of a listing. One that is listed a second time replaces what was said of it.
    pub fn push(&mut self, object: Listed) {
        let folder = self.folders.entry(object.name.folder()).or_default();
        match folder.objects.back_mut() {
            Some(last) if last.name == object.name => *last = object,
            Some(last) if last.name > object.name => {
                match folder.objects.binary_search_by(|known| known.name.cmp(&object.name)) {
                    Ok(at) => folder.objects[at] = object,
                    Err(at) => {
                        folder.objects.insert(at, object);
                        self.objects += 1;
                    }
                }
            }
            _ => {
                folder.objects.push_back(object);
                self.objects += 1;
            }
        }
        if (folder.objects.len() > LISTED_FOLDER_MAX || self.objects > LISTED_OBJECTS_MAX)
            && let Some(dropped) = folder.objects.pop_front()
        {
            folder.floor = folder.floor.max(Some(dropped.name));
            self.objects -= 1;
        }
    }

    /// All objects that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.folders.values().flat_map(|folder| &folder.objects)
    }

    /// The objects of a folder in the order of their names.
    pub(super) fn folder(&self, folder: Folder) -> impl DoubleEndedIterator<Item = &Listed> {
        self.folders.get(&folder).into_iter().flat_map(|folder| &folder.objects)
    }

    /// Objects of this folder were listed that are not kept.
    pub(super) fn is_cut(&self, folder: Folder) -> bool {
        self.folders.get(&folder).is_some_and(|folder| folder.floor.is_some())
    }

    pub(super) fn get(&self, name: ObjectName) -> Option<&Listed> {
        let objects = &self.folders.get(&name.folder())?.objects;
        let at = objects.binary_search_by(|known| known.name.cmp(&name)).ok()?;
        objects.get(at)
    }

    /// Everything was listed and this was not there.
    pub(super) fn lacks(&self, name: ObjectName) -> bool {
        let below_floor = self.folders.get(&name.folder()).is_some_and(|folder| folder.floor >= Some(name));
        self.complete && !below_floor && self.get(name).is_none()
    }

    /// The folders of which an object was listed.
    pub(super) fn folders(&self) -> impl Iterator<Item = Folder> {
        self.folders.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::litestream::{Dated, LtxName, Txid};

    fn object(txid: u64, size: u64) -> Listed {
        let name = ObjectName::Ltx { level: 0, name: LtxName { min: Txid(txid), max: Txid(txid) } };
        Listed { name, size, at: Dated::Uploaded(Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn keeps_the_newest_and_says_nothing_of_the_others() {
        let mut listed = Listing::new(LevelKeys::Plain);
        listed.restart();
        let count = LISTED_FOLDER_MAX as u64 + 5;
        (1..=count).for_each(|txid| listed.push(object(txid, 1)));
        assert_eq!(listed.iter().count(), LISTED_FOLDER_MAX);
        assert!(!listed.lacks(object(5, 1).name), "it was listed, only not kept");
        assert!(!listed.lacks(object(6, 1).name));
        assert!(listed.lacks(object(count + 1, 1).name));
        listed.push(object(7, 9));
        assert_eq!(listed.get(object(7, 1).name).map(|object| object.size), Some(9));
        assert_eq!(listed.iter().count(), LISTED_FOLDER_MAX);
    }
}
