//! Where redirects lead: down the stack layer by layer, as the kernel's overlayfs does it.
//!
//! Each layer is asked once for each name of the path that holds by then; a redirect met on the way changes the path for
//! the layers below. So the work is bounded by layers times names, whatever the marks say.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::format::redirect::Redirect;

use super::attr::Kind;
use super::error::{Error, Result};
use super::lookup::{Hold, Seen};
use super::marks::{self, Opaque};
use super::name::Name;
use super::real_dir::{LayerNo, RealDir};
use super::state::Source;
use super::table::ROOT_NODE;
use super::union::Overlay;

/// What one directory of a lower says of a name that is to be a directory.
struct Step {
    /// The directory, if it has one.
    dir: Option<Source>,
    /// What the name, and with it the path, is called in the layers below.
    redirect: Option<Redirect>,
    /// Whether the layers below add nothing.
    ends: bool,
}

impl Step {
    /// The name is hidden, or is no directory.
    const END: Step = Step { dir: None, redirect: None, ends: true };
}

impl Overlay {
    /// The directories in the layers below `layer` that a redirect found there leads to; `sources` are those of the
    /// directory that it was found in.
    pub(super) fn redirected(
        &self,
        sources: &[Source],
        layer: LayerNo,
        redirect: &Redirect,
    ) -> Result<Vec<Source>> {
        let mut name = match redirect {
            Redirect::Absolute(path) => return self.walk(layer, path),
            Redirect::Sibling(name) => name.clone(),
        };
        let mut found = Vec::new();
        for source in sources.iter().filter(|s| s.dir.layer > layer) {
            let step = self.step(source, &name)?;
            found.extend(step.dir);
            if step.ends {
                break;
            }
            match step.redirect {
                Some(Redirect::Absolute(path)) => {
                    found.extend(self.walk(source.dir.layer, &path)?);
                    break;
                }
                Some(Redirect::Sibling(other)) => name = other,
                None => {}
            }
        }
        Ok(found)
    }

    /// The directories that a path from the root leads to in the layers below `layer`, top first.
    pub(super) fn walk(&self, layer: LayerNo, path: &[OsString]) -> Result<Vec<Source>> {
        let mut path = path.to_vec();
        let mut found = Vec::new();
        for root in self.inode(ROOT_NODE)?.sources()? {
            if root.dir.layer <= layer {
                continue;
            }
            let (dir, ends) = self.walk_layer(root, &mut path)?;
            found.extend(dir);
            if ends {
                break;
            }
        }
        Ok(found)
    }

    /// Walks down one layer; `path` becomes what it is in the layers below. Returns the directory, if the path leads to
    /// one, and whether the layers below add nothing.
    fn walk_layer(&self, root: Source, path: &mut Vec<OsString>) -> Result<(Option<Source>, bool)> {
        let mut here = Some(root);
        let mut ends = false;
        let mut below = Vec::with_capacity(path.len());
        for (i, name) in path.iter().enumerate() {
            let Some(dir) = here.take() else { break };
            let step = self.step(&dir, name)?;
            ends |= step.ends;
            match step.redirect {
                Some(Redirect::Absolute(to)) => below = to,
                Some(Redirect::Sibling(to)) => below.push(to),
                None => below.push(name.clone()),
            }
            here = step.dir;
            if here.is_none() {
                below.extend_from_slice(&path[i + 1..]);
            }
        }
        *path = below;
        Ok((here, ends))
    }

    /// One name in one directory of a lower.
    fn step(&self, source: &Source, name: &OsStr) -> Result<Step> {
        let hidden_below = self.has_whiteout_file(&*self.dirs.fd(&source.dir)?, name)?;
        let access = match self.see(source, name, Hold::Name)? {
            Seen::Nothing => return Ok(Step { dir: None, redirect: None, ends: hidden_below }),
            Seen::Something(real, access) if real.kind() == Kind::Directory => access,
            Seen::Whiteout | Seen::Something(..) => return Ok(Step::END),
        };
        let marks = self.dir_marks(source.dir.layer, &access)?;
        let opaque =
            marks.opaque == Opaque::Yes || marks::has_opaque_file_in(&*self.dirs.fd(&source.dir)?, name)?;
        let dir = RealDir::lower_child(&source.dir, name.into());
        let file_whiteouts = marks.opaque == Opaque::FileWhiteouts;
        Ok(Step {
            dir: Some(Source { dir, file_whiteouts }),
            redirect: marks.redirect.filter(|_| !opaque),
            ends: opaque || hidden_below,
        })
    }

    /// The file that holds the data of a metadata copy found in `layer`, in the layers below: its directory and name.
    pub(super) fn find_data(
        &self,
        parent: &[Source],
        layer: LayerNo,
        name: &OsStr,
        redirect: Option<&Redirect>,
    ) -> Result<(Arc<RealDir>, Name)> {
        let (mut below, mut layer, mut name) = (parent.to_vec(), layer, name.to_os_string());
        let mut redirect = redirect.cloned();
        loop {
            match redirect.take() {
                Some(Redirect::Absolute(path)) => {
                    let (last, dirs) = path.split_last().ok_or(Error::DamagedLayer)?;
                    (below, name) = (self.walk(layer, dirs)?, last.clone());
                }
                Some(Redirect::Sibling(sibling)) => name = sibling,
                None => {}
            }
            below.retain(|s| s.dir.layer > layer);
            let Some((source, marks)) = self.first_file(&below, &name)? else {
                log::error!("the data of a metadata copy named {} is in no layer below", name.display());
                return Err(Error::DamagedLayer);
            };
            if !marks.metacopy {
                return Ok((source.dir.clone(), name.as_os_str().into()));
            }
            layer = source.dir.layer;
            redirect = marks.redirect;
        }
    }

    /// The first of the sources that has a name, where that is a regular file.
    fn first_file<'a>(
        &self,
        sources: &'a [Source],
        name: &OsStr,
    ) -> Result<Option<(&'a Source, marks::Marks)>> {
        for source in sources {
            match self.see(source, name, Hold::Name)? {
                Seen::Nothing => {}
                Seen::Something(real, access) if real.kind() == Kind::File => {
                    return Ok(Some((source, self.marks_in(source.dir.layer, &access)?)));
                }
                Seen::Whiteout | Seen::Something(..) => return Ok(None),
            }
        }
        Ok(None)
    }
}
