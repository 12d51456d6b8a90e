//! Renaming: first a plan, which only decides, then its steps.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::format::names::Mark;
use crate::format::redirect::Redirect;
use crate::sys::Errno;
use crate::sys::fs::{self, RenameFlags};
use crate::sys::xattr::{Target, setxattr};

use super::config::RedirectDir;
use super::copy_up::Content;
use super::error::{Error, Result};
use super::inode::Inode;
use super::locks::{lock_entries_pair, lock_ops_pair};
use super::marks;
use super::name::Name;
use super::real_dir::{RealDir, UPPER};
use super::remove::{Farewell, Standing};
use super::union::Overlay;

/// What the caller of rename asked for beyond a plain rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace what may be there.
    Replace,
    /// Fail if something is there.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// A name in a directory of the upper.
struct End {
    parent: Arc<Inode>,
    dir: Arc<RealDir>,
    fd: Arc<OwnedFd>,
    name: Name,
    inode: Option<Arc<Inode>>,
    /// Where the visible entry stands; for a free name whether a lower is hidden there.
    standing: Standing,
    /// Whether a whiteout device lies at the name.
    whiteout: bool,
}

impl End {
    /// The upper part of the directory that stands there, if it is one.
    fn upper_dir(&self) -> Option<Arc<RealDir>> {
        self.inode.as_ref()?.source_in(UPPER)
    }
}

/// What the plan needs to know of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    /// Something is visible there.
    pub visible: bool,
    /// It is a directory.
    pub is_dir: bool,
    /// It is a directory with a lower part.
    pub merged: bool,
    /// A lower shows something by this name without the upper's entry.
    pub below: bool,
    /// A whiteout device lies there.
    pub whiteout: bool,
}

/// How the old name is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Free.
    Nothing,
    /// Hidden by a new whiteout, put there by the rename itself.
    Whiteout,
    /// Hidden by the whiteout that lay at the new name.
    SwappedWhiteout,
    /// Free, the whiteout that lay at the new name removed after the swap.
    RemovedWhiteout,
    /// Taken by the other file.
    Other,
}

/// The steps of a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The moved directory gets a redirect to its lower part.
    pub redirect: bool,
    /// The moved directory is made to hide what lies below its new name.
    pub opaque: bool,
    /// The same two for the other directory of an exchange.
    pub other_redirect: bool,
    /// See `other_redirect`.
    pub other_opaque: bool,
    /// What happens to the old name.
    pub leave: Leave,
}

/// Decides how `old` becomes `new`.
pub(super) fn plan_rename(mode: RenameMode, old: Side, new: Side) -> Plan {
    let exchange = mode == RenameMode::Exchange;
    let leave = if exchange {
        Leave::Other
    } else if new.whiteout && old.is_dir {
        // A directory cannot replace a device: the two are swapped.
        if old.below { Leave::SwappedWhiteout } else { Leave::RemovedWhiteout }
    } else if old.below {
        Leave::Whiteout
    } else {
        Leave::Nothing
    };
    Plan {
        redirect: old.merged,
        opaque: old.is_dir && !old.merged && new.below,
        other_redirect: exchange && new.merged,
        other_opaque: exchange && new.is_dir && !new.merged && old.below,
        leave,
    }
}

impl Overlay {
    /// Renames an entry.
    ///
    /// # Errors
    /// [`Error::CrossDevice`] for a directory with a lower part while redirects are off, beside those of rename(2).
    /// Nothing has changed then, but copies may have been made.
    pub fn rename(&self, old: (u64, &OsStr), new: (u64, &OsStr), mode: RenameMode) -> Result<()> {
        Self::check_name(new.1)?;
        self.upper()?;
        let (old_parent, new_parent) = (self.inode(old.0)?, self.inode(new.0)?);
        let inode = self.resolve(&old_parent, old.1)?;
        let target = match self.find(&new_parent, new.1)? {
            Some(found) => Some(self.adopt(&new_parent, new.1, found)?),
            None => None,
        };
        if !self.check_rename(&inode, target.as_ref(), mode)? {
            return Ok(());
        }
        self.copy_up(&inode, Content::AttributesSuffice)?;
        match &target {
            Some(target) if mode == RenameMode::Exchange => {
                drop(self.copy_up(target, Content::AttributesSuffice)?)
            }
            Some(target) => self.copy_up_to_index(target)?,
            None => {}
        }
        self.upper_dir(&old_parent)?;
        self.upper_dir(&new_parent)?;
        let _moving = (inode.is_dir() && old.0 != new.0).then(|| self.moving.lock());
        let _ops = lock_ops_pair(&inode, target.as_deref())?;
        let _entries = lock_entries_pair(&old_parent, Some(&new_parent));
        let moved = |inode: &Inode, (parent, name): (&Inode, &OsStr)| !inode.has_name(parent, name);
        if moved(&inode, (&old_parent, old.1))
            || target.as_ref().is_some_and(|t| moved(t, (&new_parent, new.1)))
        {
            return Err(Error::Stale);
        }
        let old = self.end(&old_parent, old.1, Some(&inode))?;
        let new = self.end(&new_parent, new.1, target.as_ref())?;
        self.execute_rename(mode, &old, &new)
    }

    /// The checks that need no lock; `false` where there is nothing to do.
    fn check_rename(
        &self,
        inode: &Arc<Inode>,
        target: Option<&Arc<Inode>>,
        mode: RenameMode,
    ) -> Result<bool> {
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::Exists),
            (RenameMode::Exchange, None) => return Err(Error::NotFound),
            (_, Some(target)) if Arc::ptr_eq(inode, target) => return Ok(false),
            (RenameMode::Replace, Some(target)) => match (inode.is_dir(), target.is_dir()) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                (true, true) if !self.is_empty(target)? => return Err(Error::NotEmpty),
                _ => {}
            },
            _ => {}
        }
        let both = [Some(inode), target.filter(|_| mode == RenameMode::Exchange)];
        for moved in both.into_iter().flatten() {
            if moved.is_dir()
                && self.has_lower_part(moved)?
                && (self.config.redirect_dir != RedirectDir::On
                    || !self.believes_marks_of(self.access(moved)?.stat()?.st_uid))
            {
                return Err(Error::CrossDevice);
            }
        }
        Ok(true)
    }

    fn has_lower_part(&self, inode: &Inode) -> Result<bool> {
        inode.with_dir(|dir| !dir.lowers().is_empty())
    }

    /// Looks at one side of the rename with its directory locked.
    fn end(&self, parent: &Arc<Inode>, name: &OsStr, inode: Option<&Arc<Inode>>) -> Result<End> {
        let dir = parent.source_in(UPPER).ok_or(Error::NotFound)?;
        let fd = self.dirs.fd(&dir)?;
        if let Some(inode) = inode {
            if inode.is_upper() && !inode.is_dir() {
                self.link_name_up(inode, parent, &fd, name)?;
            }
            let standing = self.standing(parent, &fd, name)?;
            return Ok(End {
                parent: parent.clone(),
                dir,
                fd,
                name: name.into(),
                inode: Some(inode.clone()),
                standing,
                whiteout: false,
            });
        }
        let below = if parent.with_dir(|d| d.sources.len())? > 1 {
            self.index_of(parent)?.lock().get(name).is_some_and(|entry| entry.below)
        } else {
            false
        };
        let whiteout = self.has_whiteout_device(&fd, name)?;
        let standing = Standing { in_upper: false, below };
        Ok(End { parent: parent.clone(), dir, fd, name: name.into(), inode: None, standing, whiteout })
    }

    fn execute_rename(&self, mode: RenameMode, old: &End, new: &End) -> Result<()> {
        let plan = plan_rename(mode, self.side(old)?, self.side(new)?);
        for moved in [Some(old), (mode == RenameMode::Exchange).then_some(new)].into_iter().flatten() {
            moved.inode.as_ref().map_or(Ok(()), |inode| self.keep_data_findable(inode))?;
        }
        let inode = old.inode.as_ref().ok_or(Error::NotFound)?;
        let redirect = self.redirect_path(inode, plan.redirect)?;
        let other = new.inode.as_ref();
        let other_redirect = match other {
            Some(other) => self.redirect_path(other, plan.other_redirect)?,
            None => None,
        };
        self.mark_moved(inode, redirect.as_deref(), plan.opaque)?;
        if let Some(other) = other {
            self.mark_moved(other, other_redirect.as_deref(), plan.other_opaque)?;
        }
        if inode.ino != self.upper_number(inode)? {
            self.mark_impure(&new.parent)?;
        }
        if mode == RenameMode::Exchange {
            if let Some(other) = other
                && other.ino != self.upper_number(other)?
            {
                self.mark_impure(&old.parent)?;
            }
            self.exchange_entries(old, new)?;
            return self.note_exchange(old, new, redirect, other_redirect);
        }
        let farewell = match other {
            Some(other) if !other.is_dir() => Some(self.prepare_farewell(other, new.standing)?),
            Some(other) => {
                self.clear_whiteouts(other)?;
                None
            }
            None => None,
        };
        let last = other.filter(|o| o.is_dir()).map(|o| self.attr(o)).transpose()?;
        self.move_entry(old, new, plan.leave)?;
        if let (Some(other), Some(last)) = (other, last) {
            self.dir_removed(other, last)?;
        }
        self.note_rename(old, new, redirect, farewell)
    }

    fn side(&self, end: &End) -> Result<Side> {
        let is_dir = end.inode.as_ref().is_some_and(|i| i.is_dir());
        let merged = match &end.inode {
            Some(inode) if is_dir => self.has_lower_part(inode)?,
            _ => false,
        };
        Ok(Side {
            visible: end.inode.is_some(),
            is_dir,
            merged,
            below: end.standing.below,
            whiteout: end.whiteout,
        })
    }

    /// The inode number that the upper's own file has.
    fn upper_number(&self, inode: &Inode) -> Result<u64> {
        Ok(self.numbers.shown(self.upper()?.layer.device, inode.object().number()))
    }

    /// The redirect that a directory needs once it is moved.
    fn redirect_path(&self, inode: &Inode, wanted: bool) -> Result<Option<Vec<OsString>>> {
        if wanted { self.lower_dir_path(inode).map(Some) } else { Ok(None) }
    }

    /// Writes the marks that make a directory right at its new place; at the old one they change nothing.
    fn mark_moved(&self, inode: &Inode, redirect: Option<&[OsString]>, opaque: bool) -> Result<()> {
        if redirect.is_none() && !opaque {
            return Ok(());
        }
        let dir = inode.source_in(UPPER).ok_or(Error::NotFound)?;
        let fd = self.dirs.fd(&dir)?;
        if let Some(path) = redirect {
            let name = self.mark_name(Mark::Redirect).ok_or(Error::CrossDevice)?;
            setxattr(Target::Fd(fd.as_fd()), name, &Redirect::Absolute(path.to_vec()).encode(), 0)?;
        }
        if opaque {
            marks::write_opaque(&fd, self.upper()?.features.marks)?;
        }
        Ok(())
    }

    /// Moves the real entry and leaves the old name as planned.
    fn move_entry(&self, old: &End, new: &End, leave: Leave) -> Result<()> {
        let rename = |flags| fs::renameat_with(&*old.fd, &*old.name, &*new.fd, &*new.name, flags);
        let dir = old.upper_dir();
        let renaming = dir.as_ref().map(|dir| dir.rename());
        match leave {
            Leave::Nothing | Leave::Other => rename(RenameFlags::empty())?,
            Leave::Whiteout => self.move_and_whiteout(old, rename)?,
            Leave::SwappedWhiteout | Leave::RemovedWhiteout => rename(RenameFlags::EXCHANGE)?,
        }
        renaming.into_iter().for_each(|dir| dir.done(&new.dir, new.name.clone()));
        if leave == Leave::RemovedWhiteout
            && let Err(e) = self.remove_name(&old.fd, &old.name)
        {
            // It hides nothing.
            log::debug!("whiteout {} left: {e}", old.name.display());
        }
        if new.standing.below && !new.whiteout && new.inode.is_none() {
            self.remove_whiteout_file(&new.fd, &new.name)?;
        }
        Ok(())
    }

    /// Swaps the two real entries.
    fn exchange_entries(&self, old: &End, new: &End) -> Result<()> {
        let dirs = [old.upper_dir(), new.upper_dir()];
        let [one, other] = dirs.each_ref().map(|dir| dir.as_ref().map(|dir| dir.rename()));
        fs::renameat_with(&*old.fd, &*old.name, &*new.fd, &*new.name, RenameFlags::EXCHANGE)?;
        one.into_iter().for_each(|dir| dir.done(&new.dir, new.name.clone()));
        other.into_iter().for_each(|dir| dir.done(&old.dir, old.name.clone()));
        Ok(())
    }

    fn move_and_whiteout(
        &self,
        old: &End,
        rename: impl Fn(RenameFlags) -> std::result::Result<(), Errno>,
    ) -> Result<()> {
        if !self.upper()?.features.whiteout_devices {
            self.add_whiteout_file(&old.fd, &old.name)?;
            return Ok(rename(RenameFlags::empty())?);
        }
        match rename(RenameFlags::WHITEOUT) {
            Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => {}
            other => return Ok(other?),
        }
        rename(RenameFlags::empty())?;
        self.add_whiteout(&old.fd, &old.name)
    }

    fn note_rename(
        &self,
        old: &End,
        new: &End,
        redirect: Option<Vec<OsString>>,
        farewell: Option<Farewell>,
    ) -> Result<()> {
        let inode = old.inode.as_ref().ok_or(Error::NotFound)?;
        self.note_removed_entry(&old.parent, &old.name, old.standing.below)?;
        if let Some(farewell) = farewell {
            self.lost_name(farewell, &new.parent, &new.name)?;
        }
        self.note_moved_here(inode, new)?;
        moved(inode, old, new, redirect)
    }

    fn note_exchange(
        &self,
        old: &End,
        new: &End,
        redirect: Option<Vec<OsString>>,
        other_redirect: Option<Vec<OsString>>,
    ) -> Result<()> {
        let inode = old.inode.as_ref().ok_or(Error::NotFound)?;
        let other = new.inode.as_ref().ok_or(Error::NotFound)?;
        self.note_moved_here(inode, new)?;
        self.note_moved_here(other, old)?;
        moved(inode, old, new, redirect)?;
        moved(other, new, old, other_redirect)
    }

    fn note_moved_here(&self, inode: &Inode, end: &End) -> Result<()> {
        let below = end.standing.below;
        self.note_new_entry(&end.parent, &end.name, inode.kind, 0, below)
    }

    /// The names from the lowers' common root to a directory, as the lowers alone show it.
    pub(super) fn lower_dir_path(&self, inode: &Inode) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        let mut above = None;
        loop {
            let dir = above.as_deref().unwrap_or(inode);
            let redirect = dir.with_dir(|d| d.redirect.clone())?;
            if let Some(Redirect::Absolute(path)) = redirect {
                names.extend(path.into_iter().rev());
                break;
            }
            let Some((parent, name)) = dir.location() else { break };
            names.push(match redirect {
                Some(Redirect::Sibling(name)) => name,
                _ => name.to_os_string(),
            });
            above = Some(parent);
        }
        names.reverse();
        Ok(names)
    }
}

/// The inode is known by its new name from now on.
fn moved(inode: &Inode, old: &End, new: &End, redirect: Option<Vec<OsString>>) -> Result<()> {
    let mut state = inode.state.write();
    state.change_name((&old.parent, &old.name), (&new.parent, &new.name));
    if let (Some(dir), Some(path)) = (&mut state.dir, redirect) {
        dir.redirect = Some(Redirect::Absolute(path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Side = Side { visible: true, is_dir: false, merged: false, below: false, whiteout: false };
    const FREE: Side = Side { visible: false, ..FILE };

    #[test]
    fn a_pure_upper_file_leaves_nothing() {
        let plan = plan_rename(RenameMode::Replace, FILE, FREE);
        assert_eq!(plan.leave, Leave::Nothing);
        assert!(!plan.redirect && !plan.opaque);
    }

    #[test]
    fn a_name_of_the_lower_is_left_hidden() {
        let plan = plan_rename(RenameMode::Replace, Side { below: true, ..FILE }, FREE);
        assert_eq!(plan.leave, Leave::Whiteout);
    }

    #[test]
    fn a_directory_swaps_with_a_whiteout() {
        let dir = Side { is_dir: true, ..FILE };
        let hidden = Side { whiteout: true, below: true, ..FREE };
        let plan = plan_rename(RenameMode::Replace, dir, hidden);
        assert_eq!((plan.leave, plan.opaque), (Leave::RemovedWhiteout, true));
        let plan = plan_rename(RenameMode::Replace, Side { below: true, merged: true, ..dir }, hidden);
        assert_eq!((plan.leave, plan.opaque, plan.redirect), (Leave::SwappedWhiteout, false, true));
    }

    #[test]
    fn an_exchange_marks_both_directories() {
        let merged = Side { is_dir: true, merged: true, below: true, ..FILE };
        let pure = Side { is_dir: true, ..FILE };
        let plan = plan_rename(RenameMode::Exchange, merged, pure);
        assert!(plan.redirect && plan.other_opaque && !plan.opaque && !plan.other_redirect);
        assert_eq!(plan.leave, Leave::Other);
    }
}
