//! The index in a work directory: lower files with several links, of which one was copied up.
//!
//! The union shows the copy under every one of the file's names, but only those that were written through are
//! names in the upper. The others are found here, so that a layer does not bring the old content back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use super::LayerError;
use super::lowers::Lookup;
use super::merged::{Child, Merged};
use super::node::{Entry, Kind};
use super::source::{Dir, Located};
use crate::format::names::Mark;
use crate::format::nlink::{NlinkBase, NlinkDelta};
use crate::format::origin::Origin;
use crate::marks::Role;

/// The name of the index in a work directory (the kernel's, and ours).
const INDEX: &str = "index";

/// The names that lie in the lowers alone and show a copied-up file. Paths have no leading slash.
#[derive(Debug, Default)]
pub struct Aliases(BTreeMap<Vec<u8>, Lookup>);

impl Aliases {
    /// Reads the index of the work directory `work` and, if a file in it has names that the upper lacks,
    /// looks for them through the whole of `merged`. No index is an empty one.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn find(work: &Path, merged: &Merged) -> Result<Aliases, LayerError> {
        let mut search = Search { index: HashMap::new(), missing: 0, found: BTreeMap::new() };
        if search.read_index(work)? {
            search.visit(merged, &mut Vec::new())?;
        }
        Ok(Aliases(search.found))
    }

    /// The file that shows at `path`, if the lowers alone would show another one.
    pub fn get(&self, path: &[u8]) -> Option<&Lookup> {
        self.0.get(path)
    }

    /// The names in the directory `dir` (with a slash at the end, or empty) that are aliases or lead to some.
    pub fn names_below(&self, dir: &[u8]) -> BTreeSet<OsString> {
        let below = self.0.range(dir.to_vec()..).map_while(|(path, _)| path.strip_prefix(dir));
        let names = below.filter_map(|rest| rest.split(|b| *b == b'/').next());
        names.map(|name| OsStr::from_bytes(name).to_owned()).collect()
    }
}

/// The search for the names.
struct Search {
    /// The copied-up files by type and bytes of the lower file's handle.
    index: HashMap<(u8, Vec<u8>), Located>,
    /// How many names are still to be found.
    missing: u32,
    found: BTreeMap<Vec<u8>, Lookup>,
}

impl Search {
    /// Takes in the index; returns whether any name is missing in the upper.
    fn read_index(&mut self, work: &Path) -> Result<bool, LayerError> {
        let work = Dir::open_root(work, Role::Upper)?;
        let Some(Entry::Node(node)) = work.find(OsStr::new(INDEX))? else { return Ok(false) };
        let dir = Rc::new(work.open_dir(OsStr::new(INDEX), &node)?);
        for (name, entry) in dir.list()? {
            let (Some(origin), Entry::Node(node)) = (Origin::from_index_name(&name), entry) else { continue };
            if node.kind == Kind::Dir {
                continue;
            }
            let file = Located { dir: Rc::clone(&dir), name, node };
            let missing = missing_names(&file)?;
            if missing > 0 {
                self.missing = self.missing.saturating_add(missing);
                self.index.insert((origin.kind, origin.handle), file);
            }
        }
        Ok(self.missing > 0)
    }

    /// Looks through a directory of the union.
    fn visit(&mut self, merged: &Merged, path: &mut Vec<u8>) -> Result<(), LayerError> {
        for (name, upper) in merged.names()? {
            if self.missing == 0 {
                return Ok(());
            }
            let in_upper = upper.as_ref().is_some_and(|node| !node.is_dir());
            let child = if in_upper { None } else { merged.child(&name, upper)? };
            let length = path.len();
            path.extend_from_slice(name.as_bytes());
            match child {
                Some(Child::File(lookup)) => self.take(path, lookup)?,
                Some(Child::Dir(_, merged, _)) => {
                    path.push(b'/');
                    self.visit(&merged, path)?;
                }
                None => {}
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// Notes a lower file that was copied up under another name.
    fn take(&mut self, path: &[u8], lower: Lookup) -> Result<(), LayerError> {
        if lower.file.node.nlink < 2 {
            return Ok(());
        }
        let Some(handle) = lower.file.handle()? else { return Ok(()) };
        if let Some(copy) = self.index.get(&handle) {
            let data = if copy.node.metacopy { lower.data } else { Some(copy.clone()) };
            self.found.insert(path.to_vec(), Lookup { file: copy.clone(), data });
            self.missing -= 1;
        }
        Ok(())
    }
}

/// How many of an indexed file's names the upper lacks. One of the real links is the index entry.
fn missing_names(file: &Located) -> Result<u32, LayerError> {
    let real = u32::try_from(file.node.nlink).unwrap_or(u32::MAX);
    let mark = file.mark(Mark::Nlink)?.map(|value| NlinkDelta::parse(&value)).transpose();
    let mark = mark.map_err(|source| LayerError::Mark { path: file.path(), source })?;
    Ok(match mark {
        Some(delta) if delta.base == NlinkBase::Upper => {
            let links = delta.apply(real).unwrap_or(0);
            links.saturating_sub(real.saturating_sub(1))
        }
        // Relative to the lower's count, or unknown: as many as there may be.
        Some(_) => u32::MAX,
        None => 0,
    })
}
