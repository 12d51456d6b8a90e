//! The way to the real file behind an inode.
//!
//! A lower is not changed, so a file of it is where it was found. A file of the upper may be renamed at any time by another
//! request: whatever its present name leads to is opened as a path, compared with the inode's object, and used through that
//! descriptor only. Where the two differ, the rename that came in between is waited for, and the new name taken.

use std::sync::Arc;

use crate::sys::Errno;
use crate::sys::fs::{self, Mode, OFlags, Stat};

use super::access::Access;
use super::error::{Error, Result};
use super::held::Held;
use super::inode::Inode;
use super::name::Name;
use super::object::Object;
use super::real_dir::UPPER;
use super::union::Overlay;

/// How often a file is looked for before renames are kept away from it.
const ATTEMPTS: usize = 4;

/// Opens what a name leads to, as a path.
pub(super) const O_FILEPATH: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where an inode says that its file is.
enum Place {
    /// The file itself is at hand.
    Known(Access),
    /// Names that lead to it.
    Names(Vec<(Arc<Inode>, Name)>, Object),
    /// One name in a directory of our own.
    Own(Access, Object),
}

impl Overlay {
    /// How the file behind an inode is reached now. Waits for a rename of the file, so the caller must not hold its `ops`.
    pub(super) fn access(&self, inode: &Inode) -> Result<Access> {
        self.located(inode, open_verified)
    }

    /// The same for a caller who holds the inode's `ops`.
    pub(super) fn access_held(&self, inode: &Inode) -> Result<Access> {
        self.locate(inode, &mut open_verified)?.ok_or(Error::Stale)
    }

    /// The attributes of the real file, which cost no opening.
    pub(super) fn stat(&self, inode: &Inode) -> Result<(Stat, Access)> {
        self.located(inode, |access, object| {
            let st = access.stat()?;
            Ok((object.is_none_or(|object| object == Object::of(&st))).then(|| (st, access.clone())))
        })
    }

    /// What `look` finds at the place of the inode's file; it says `None` to another file.
    fn located<T>(
        &self,
        inode: &Inode,
        mut look: impl FnMut(&Access, Option<Object>) -> Result<Option<T>>,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS {
            if let Some(found) = self.locate(inode, &mut look)? {
                return Ok(found);
            }
        }
        let _ops = inode.lock_ops()?;
        self.locate(inode, &mut look)?.ok_or(Error::Stale)
    }

    /// One look at the inode's present place; `None` where none of its names leads to the file.
    fn locate<T>(
        &self,
        inode: &Inode,
        look: &mut impl FnMut(&Access, Option<Object>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (names, object) = match self.place(inode)? {
            Place::Known(access) => return look(&access, None),
            Place::Own(access, object) => return look(&access, Some(object)),
            Place::Names(names, object) => (names, object),
        };
        for (parent, name) in names {
            let Some(dir) = parent.source_in(UPPER) else { continue };
            let found = match self.dirs.fd(&dir) {
                Ok(dir) => look(&Access::At(dir, name), Some(object)),
                Err(e) => Err(e.into()),
            };
            match found {
                Ok(None) | Err(Error::NotFound | Error::System(Errno::NOTDIR | Errno::STALE)) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    /// Where the inode says that its file is.
    fn place(&self, inode: &Inode) -> Result<Place> {
        let (parent, name, layer) = {
            let state = inode.state.read();
            if let Some(dir) = &state.dir {
                let top = dir.sources.first().ok_or(Error::NotFound)?.dir.clone();
                drop(state);
                return Ok(Place::Known(Access::of_dir(self.dirs.fd(&top)?)));
            }
            if let Some(file) = &state.file {
                match file.held.as_deref() {
                    Some(Held::Open(fd, _)) => return Ok(Place::Known(Access::Fd(fd.clone()))),
                    Some(Held::InWork(own)) => {
                        let access = Access::At(own.dir.clone(), own.name.as_os_str().into());
                        return Ok(Place::Own(access, state.object));
                    }
                    None => {}
                }
                if let (Some(name), Some(index)) = (&file.index_name, self.index_dir()) {
                    return Ok(Place::Own(Access::At(index, name.clone()), state.object));
                }
            }
            if state.layer == UPPER {
                return Ok(Place::Names(state.names(), state.object));
            }
            (state.parent.clone().ok_or(Error::NotFound)?, state.name.clone(), state.layer)
        };
        let dir = parent.source_in(layer).ok_or(Error::NotFound)?;
        Ok(Place::Known(Access::At(self.dirs.fd(&dir)?, name)))
    }
}

/// Opens what a name leads to, if it is the file that it must be.
fn open_verified(access: &Access, object: Option<Object>) -> Result<Option<Access>> {
    let (Some(object), Access::At(dir, name)) = (object, access) else { return Ok(Some(access.clone())) };
    let fd = fs::openat(&**dir, &**name, O_FILEPATH, Mode::empty())?;
    let same = object == Object::of(&fs::fstat(&fd)?);
    Ok(same.then(|| Access::Fd(Arc::new(fd))))
}
