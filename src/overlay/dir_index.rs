//! The merged names of one directory: an index by name and a listing with stable positions.
//!
//! Positions only grow: an entry that goes leaves a gap, one that comes is added at the end, so a listing under
//! way neither skips nor repeats what stays.

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::attr::Kind;
use super::name::Name;
use super::real_dir::{LayerNo, UPPER};

/// Where a name is found in the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file of any type but directory, in this layer.
    File(LayerNo),
    /// Directories of these layers, top first; marks in them may end the list earlier.
    Dirs(Box<[LayerNo]>),
    /// A whiteout in the upper layer.
    Whiteout,
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Name,
    /// Its place.
    pub place: Place,
    /// The type the top layer's listing gives.
    pub kind: Kind,
    /// The real inode number in the top layer.
    pub real_ino: u64,
    /// Whether a lower layer shows something by this name once the upper's entry is gone.
    pub below: bool,
}

impl Entry {
    /// Whether the entry is seen in the merged directory.
    pub fn is_visible(&self) -> bool {
        self.place != Place::Whiteout
    }

    /// Whether the upper layer has the name, be it a whiteout.
    pub fn in_upper(&self) -> bool {
        match &self.place {
            Place::File(layer) => *layer == UPPER,
            Place::Dirs(layers) => layers.first() == Some(&UPPER),
            Place::Whiteout => true,
        }
    }
}

/// An entry, or the gap it left, with its position.
#[derive(Debug)]
struct Slot {
    position: u64,
    entry: Option<Entry>,
}

/// The names of a merged directory.
#[derive(Debug)]
pub struct DirIndex {
    hasher: RandomState,
    /// In the order of positions.
    slots: Vec<Slot>,
    by_name: HashTable<u32>,
    next: u64,
}

impl Default for DirIndex {
    fn default() -> Self {
        DirIndex { hasher: RandomState::new(), slots: Vec::new(), by_name: HashTable::new(), next: 1 }
    }
}

impl DirIndex {
    fn slot_of(&self, name: &OsStr) -> Option<usize> {
        let is = |slot: &u32| self.entry_at(*slot).is_some_and(|entry| &*entry.name == name);
        self.by_name.find(self.hasher.hash_one(name), is).map(|slot| *slot as usize)
    }

    fn entry_at(&self, slot: u32) -> Option<&Entry> {
        self.slots[slot as usize].entry.as_ref()
    }

    /// The entry of a name, whiteouts of the upper included.
    pub fn get(&self, name: &OsStr) -> Option<&Entry> {
        self.slots[self.slot_of(name)?].entry.as_ref()
    }

    /// The entry of a name, to be changed in place.
    pub fn get_mut(&mut self, name: &OsStr) -> Option<&mut Entry> {
        let slot = self.slot_of(name)?;
        self.slots[slot].entry.as_mut()
    }

    /// Adds an entry at the end. One with the same name that is seen already is replaced where it stands: the
    /// name stays, so that a listing under way must show it once.
    pub fn insert(&mut self, entry: Entry) {
        if let Some(standing) = self.get_mut(&entry.name)
            && standing.is_visible()
            && entry.is_visible()
        {
            *standing = entry;
            return;
        }
        self.remove(&entry.name.clone());
        self.slots.push(Slot { position: self.next, entry: Some(entry) });
        self.next += 1;
        self.link(self.slots.len() as u32 - 1);
    }

    /// Makes the entry in `slot` findable by its name.
    fn link(&mut self, slot: u32) {
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |s: &u32| slots[*s as usize].entry.as_ref().map_or(0, |e| hasher.hash_one(&*e.name));
        self.by_name.insert_unique(hash_of(&slot), slot, hash_of);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, name: &OsStr) -> Option<Entry> {
        let slot = self.slot_of(name)?;
        if let Ok(found) = self.by_name.find_entry(self.hasher.hash_one(name), |s| *s as usize == slot) {
            found.remove();
        }
        let removed = self.slots[slot].entry.take();
        if self.slots.len() > 64 && self.by_name.len() * 2 < self.slots.len() {
            self.compact();
        }
        removed
    }

    /// Closes the gaps; positions stay.
    fn compact(&mut self) {
        self.slots.retain(|slot| slot.entry.is_some());
        self.by_name.clear();
        for slot in 0..self.slots.len() as u32 {
            self.link(slot);
        }
    }

    /// The visible entries behind `position` (0: from the beginning), each with its own position.
    pub fn list_from(&self, position: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let start = self.slots.partition_point(|slot| slot.position <= position);
        let entries = self.slots[start..].iter().filter_map(|s| s.entry.as_ref().map(|e| (s.position, e)));
        entries.filter(|(_, entry)| entry.is_visible())
    }

    /// Whether no name is seen.
    pub fn is_empty(&self) -> bool {
        self.list_from(0).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        let kind = Kind::File;
        Entry { name: OsStr::new(name).into(), place: Place::File(1), kind, real_ino: 1, below: false }
    }

    fn names(index: &DirIndex, from: u64) -> Vec<String> {
        index.list_from(from).map(|(_, e)| e.name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn removal_while_listing_skips_and_repeats_nothing() {
        let mut index = DirIndex::default();
        for i in 0..1000 {
            index.insert(entry(&format!("f{i:04}")));
        }
        let mut seen = Vec::new();
        let mut position = 0;
        loop {
            let batch: Vec<_> = index.list_from(position).take(7).map(|(p, e)| (p, e.name.clone())).collect();
            let Some((last, _)) = batch.last() else { break };
            position = *last;
            for (_, name) in &batch {
                seen.push(name.to_string_lossy().into_owned());
                index.remove(name);
            }
            index.insert(entry(&format!("new{}", seen.len())));
            if seen.len() > 2000 {
                break;
            }
        }
        let old: Vec<_> = seen.iter().filter(|n| n.starts_with('f')).collect();
        assert_eq!(old.len(), 1000);
    }

    #[test]
    fn a_name_is_found_after_many_removals() {
        let mut index = DirIndex::default();
        for i in 0..500 {
            index.insert(entry(&format!("f{i}")));
        }
        for i in 0..499 {
            assert!(index.remove(OsStr::new(&format!("f{i}"))).is_some());
        }
        assert!(index.get(OsStr::new("f499")).is_some());
        assert!(index.get(OsStr::new("f1")).is_none());
        assert_eq!(names(&index, 0), ["f499"]);
    }

    #[test]
    fn whiteouts_are_found_but_not_listed() {
        let mut index = DirIndex::default();
        index.insert(Entry { place: Place::Whiteout, ..entry("gone") });
        assert!(index.get(OsStr::new("gone")).is_some());
        assert!(index.is_empty());
    }
}
