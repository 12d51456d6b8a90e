//! The pure merge of the listings of a directory's sources, top first, into one index.

use std::ffi::OsString;

use super::attr::Kind;
use super::dir_index::{DirIndex, Entry, Place};
use super::name::Name;
use super::real_dir::{LayerNo, UPPER};

/// What a layer's listing says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Something of this type, with its real inode number.
    Present(Kind, u64),
    /// A whiteout in the form of an entry of the same name.
    Whiteout,
    /// A file `.wh.NAME` beside, or in place of, the name itself.
    WhiteoutFile,
}

/// What a name's merge has come to.
struct Progress {
    /// Lower layers add nothing more to a directory.
    closed: bool,
    /// The first lower layer that has the name was seen.
    below_known: bool,
}

/// Merges listings.
#[derive(Default)]
pub struct Merge {
    index: DirIndex,
    progress: std::collections::HashMap<Name, Progress>,
}

impl Merge {
    /// Adds the listing of the next source. Sources come top first.
    pub fn add(&mut self, layer: LayerNo, listing: Vec<(OsString, Listed)>) {
        let mut whiteout_files = Vec::new();
        for (name, listed) in listing {
            match listed {
                Listed::Present(kind, ino) => self.present(layer, name, kind, ino),
                Listed::Whiteout => self.whiteout(layer, name),
                Listed::WhiteoutFile => whiteout_files.push(name),
            }
        }
        // A whiteout file hides what lies in the layers below only, wherever it stands in the listing.
        for name in whiteout_files {
            self.whiteout_file(layer, name);
        }
    }

    fn present(&mut self, layer: LayerNo, name: OsString, kind: Kind, real_ino: u64) {
        let is_dir = kind == Kind::Directory;
        let Some(progress) = self.progress.get_mut(&*name) else {
            let name: Name = name.into();
            let place = if is_dir { Place::Dirs(Box::new([layer])) } else { Place::File(layer) };
            self.index.insert(Entry { name: name.clone(), place, kind, real_ino, below: false });
            self.progress.insert(name, Progress { closed: !is_dir, below_known: layer != UPPER });
            return;
        };
        let Some(entry) = self.index.get_mut(&name) else { return };
        if !progress.below_known {
            progress.below_known = true;
            entry.below = true;
        }
        match &mut entry.place {
            Place::Dirs(layers) if is_dir && !progress.closed => {
                let mut more = layers.to_vec();
                more.push(layer);
                *layers = more.into();
            }
            _ => progress.closed = true,
        }
    }

    fn whiteout(&mut self, layer: LayerNo, name: OsString) {
        match self.progress.get_mut(&*name) {
            Some(progress) => {
                progress.closed = true;
                progress.below_known = true;
            }
            None => {
                let name: Name = name.into();
                if layer == UPPER {
                    let (place, kind) = (Place::Whiteout, Kind::Char);
                    self.index.insert(Entry { name: name.clone(), place, kind, real_ino: 0, below: false });
                }
                self.progress.insert(name, Progress { closed: true, below_known: layer != UPPER });
            }
        }
    }

    fn whiteout_file(&mut self, layer: LayerNo, name: OsString) {
        let in_this_layer = self.index.get(&name).is_some_and(|entry| match &entry.place {
            Place::File(l) => *l == layer,
            Place::Dirs(layers) => layers.last() == Some(&layer),
            Place::Whiteout => layer == UPPER,
        });
        if !in_this_layer {
            return self.whiteout(layer, name);
        }
        if let Some(progress) = self.progress.get_mut(&*name) {
            progress.closed = true;
            progress.below_known |= layer != UPPER;
        }
    }

    /// The merged index.
    pub fn finish(self) -> DirIndex {
        self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn merge(layers: &[&[(&str, Listed)]]) -> DirIndex {
        let mut merge = Merge::default();
        for (no, listing) in layers.iter().enumerate() {
            merge.add(no as LayerNo, listing.iter().map(|(n, l)| (OsString::from(n), *l)).collect());
        }
        merge.finish()
    }

    const FILE: Listed = Listed::Present(Kind::File, 7);
    const DIR: Listed = Listed::Present(Kind::Directory, 8);

    fn get<'a>(index: &'a DirIndex, name: &str) -> &'a Entry {
        index.get(OsStr::new(name)).expect("entry")
    }

    #[test]
    fn the_top_layer_wins_and_knows_what_lies_below() {
        let index = merge(&[&[("a", FILE), ("b", FILE)], &[("a", FILE), ("c", FILE)]]);
        assert_eq!((&get(&index, "a").place, get(&index, "a").below), (&Place::File(0), true));
        assert_eq!((&get(&index, "b").place, get(&index, "b").below), (&Place::File(0), false));
        assert_eq!(get(&index, "c").place, Place::File(1));
    }

    #[test]
    fn directories_merge_until_something_else_or_a_whiteout() {
        let index = merge(&[&[("d", DIR)], &[("d", DIR)], &[("d", FILE)], &[("d", DIR)]]);
        assert_eq!(get(&index, "d").place, Place::Dirs([0, 1].into()));
        let index = merge(&[&[("d", DIR)], &[("d", Listed::Whiteout)], &[("d", DIR)]]);
        assert_eq!(get(&index, "d").place, Place::Dirs([0].into()));
        assert!(!get(&index, "d").below);
    }

    #[test]
    fn upper_whiteouts_stay_known_and_lower_ones_vanish() {
        let index =
            merge(&[&[("a", Listed::Whiteout)], &[("a", FILE), ("b", Listed::Whiteout)], &[("b", FILE)]]);
        let a = get(&index, "a");
        assert!(a.below && !a.is_visible());
        assert!(index.get(OsStr::new("b")).is_none());
        assert!(index.is_empty());
    }

    #[test]
    fn a_whiteout_file_hides_only_the_layers_below() {
        let index = merge(&[&[], &[("d", DIR), ("d", Listed::WhiteoutFile)], &[("d", DIR)]]);
        assert_eq!(get(&index, "d").place, Place::Dirs([1].into()));
        let index = merge(&[&[("x", Listed::WhiteoutFile)], &[("x", FILE)]]);
        assert!(get(&index, "x").below && index.is_empty());
    }
}
