//! The way to an entry's directory: what is missing is made as the lower layers have it, and a symbolic link
//! of theirs is resolved within the root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use super::entries::Attributes;
use super::error::{EntryName, Fault, Refusal};
use super::path::join;
use super::tree::{Spot, Step, Tree, not_a_directory};
use crate::layer::lowers::{Lookup, Lower};
use crate::layer::node::{Kind, Time};
use crate::layer::source::Located;

/// As many links are followed, as the kernel would.
const MAX_LINKS: usize = 40;
/// As many components are gone through, links' included.
const MAX_STEPS: usize = 20_000;
/// The longest target of a link.
const MAX_TARGET: usize = 4096;

/// What happens where the target lacks a directory that the way leads through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is made.
    Make,
    /// The way goes on in the lowers alone.
    Keep,
}

/// A way being gone.
struct Way {
    spot: Spot,
    /// The components to go, the last one first.
    todo: Vec<Vec<u8>>,
    links: usize,
    steps: usize,
}

impl Tree<'_> {
    /// Goes to the directory with these components.
    ///
    /// # Errors
    /// [`Refusal::NotADirectory`], [`Refusal::BadLink`], [`Refusal::TooLarge`], and those of the system.
    pub fn walk(&mut self, components: &[&[u8]], missing: Missing) -> Result<Spot, Fault> {
        self.check_depth(components.len())?;
        let (spot, used) = self.nearest(components);
        let todo = components[used..].iter().rev().map(|component| component.to_vec()).collect();
        let mut way = Way { spot, todo, links: 0, steps: 0 };
        while let Some(name) = way.todo.pop() {
            way.steps += 1;
            if way.steps > MAX_STEPS {
                return Err(bad_link(way.spot.path));
            }
            match &name[..] {
                b"" | b"." => {}
                b".." => self.go_up(&mut way),
                name => self.go_down(&mut way, OsStr::from_bytes(name), missing)?,
            }
        }
        Ok(way.spot)
    }

    /// Refuses what is too deep for the limits.
    pub fn check_depth(&self, components: usize) -> Result<(), Refusal> {
        let limit = self.depth as u64;
        let too_deep = components > self.depth;
        if too_deep { Err(Refusal::TooLarge { what: "number of path components", limit }) } else { Ok(()) }
    }

    /// Goes to the parent of a real directory; that of the root is the root.
    fn go_up(&self, way: &mut Way) {
        let mut components: Vec<&[u8]> = way.spot.path.split(|byte| *byte == b'/').collect();
        components.pop();
        let (spot, used) = self.nearest(&components);
        way.todo.extend(components[used..].iter().rev().map(|component| component.to_vec()));
        way.spot = spot;
    }

    /// Goes on by one name.
    fn go_down(&mut self, way: &mut Way, name: &OsStr, missing: Missing) -> Result<(), Fault> {
        let path = join(&way.spot.path, name.as_bytes());
        self.check_depth(path.split(|byte| *byte == b'/').count())?;
        let mut hidden = false;
        if let Some(dir) = &way.spot.dir {
            match self.step(dir, name)? {
                Step::Dir(dir) => {
                    self.remember(path.clone(), Rc::clone(&dir));
                    way.spot = Spot { path, dir: Some(dir), view: None };
                    return Ok(());
                }
                Step::Other => return Err(not_a_directory(path)),
                Step::Absent => {}
                Step::Whiteout => hidden = true,
            }
        }
        let lower = if hidden { Lower::Absent } else { self.below(&mut way.spot, name)? };
        match lower {
            Lower::File(file) if file.file.node.kind == Kind::Symlink => self.follow(way, &file, path),
            Lower::File(_) => Err(not_a_directory(path)),
            Lower::Dir(place, view) => {
                way.spot = match (missing, &way.spot.dir) {
                    (Missing::Make, Some(_)) => {
                        let made = self.make_dir(&way.spot, name, &attributes(&place)?)?;
                        Spot { view: Some(view), ..made }
                    }
                    _ => Spot { path, dir: None, view: Some(view) },
                };
                Ok(())
            }
            Lower::Absent => {
                let view = way.spot.view.as_ref().map(|view| view.emptied());
                way.spot = match (missing, &way.spot.dir) {
                    (Missing::Make, Some(_)) => Spot { view, ..self.make_dir(&way.spot, name, &unknown())? },
                    _ => Spot { path, dir: None, view },
                };
                Ok(())
            }
        }
    }

    /// Goes where a link of a lower layer leads, with the target as the root of all.
    fn follow(&self, way: &mut Way, link: &Lookup, path: Vec<u8>) -> Result<(), Fault> {
        let target = link.file.link_target()?;
        way.links += 1;
        if way.links > MAX_LINKS || target.is_empty() || target.len() > MAX_TARGET {
            return Err(bad_link(path));
        }
        if target.starts_with(b"/") {
            way.spot = self.root_spot();
        }
        way.todo.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        Ok(())
    }
}

fn bad_link(path: Vec<u8>) -> Fault {
    Refusal::BadLink(EntryName(path)).into()
}

/// The attributes of a file of a lower layer.
pub fn attributes(place: &Located) -> Result<Attributes, Fault> {
    let node = &place.node;
    let (uid, gid, mode, mtime) = (node.uid, node.gid, node.mode, node.mtime);
    Ok(Attributes { uid, gid, mode, mtime, xattrs: place.xattrs()? })
}

/// The attributes of a directory of which nothing is known.
pub fn unknown() -> Attributes {
    let mtime = Time { seconds: 0, nanos: 0 };
    Attributes { uid: 0, gid: 0, mode: 0o755, mtime, xattrs: Vec::new() }
}
