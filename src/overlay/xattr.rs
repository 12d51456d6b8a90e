//! Extended attributes of the view: the layers' own marks never show.

use std::ffi::{OsStr, OsString};

use crate::format::acl;
use crate::format::names::is_private;
use crate::sys::Errno;
use crate::sys::xattr as sysx;

use super::attr::S_ISGID;
use super::caller::Caller;
use super::copy_up::{CAPABILITY, Content};
use super::error::{Error, Result};
use super::inode::NO_CAPABILITY;
use super::real_dir::UPPER;
use super::union::Overlay;

impl Overlay {
    /// The value of an attribute.
    ///
    /// # Errors
    /// [`Error::NoAttribute`] where there is none, or where it is one of the union's own.
    pub fn getxattr(&self, node: u64, name: &OsStr) -> Result<Vec<u8>> {
        let inode = self.inode(node)?;
        if is_private(name) {
            return Err(Error::NoAttribute);
        }
        if acl::is_acl(name) && !self.config.acl {
            return Err(Error::Unsupported);
        }
        let is_capability = name == CAPABILITY;
        if is_capability && inode.knows(NO_CAPABILITY) {
            return Err(Error::NoAttribute);
        }
        let layer = inode.state.read().layer;
        let value = match sysx::getxattr(self.access(&inode)?.xattrs(), name) {
            Err(Errno::NODATA) if is_capability => {
                inode.learn_no_capability();
                return Err(Error::NoAttribute);
            }
            other => other?,
        };
        if inode.state.read().layer != layer {
            // Copied up meanwhile: the ids in the value may be those of either layer.
            return self.getxattr(node, name);
        }
        if self.is_premapped(layer) {
            return Ok(value);
        }
        self.ids.shown_xattr(name, value).ok_or(Error::NoAttribute)
    }

    /// The names of all attributes that `caller` may know of: `trusted.*` are the administrator's (xattr(7)).
    pub fn listxattr(&self, node: u64, caller: Caller) -> Result<Vec<OsString>> {
        let inode = self.inode(node)?;
        let mut names = sysx::listxattr(self.access(&inode)?.xattrs())?;
        names.retain(|name| !is_private(name) && (self.config.acl || !acl::is_acl(name)));
        if names.iter().any(|name| is_trusted(name)) && !caller.is_administrator() {
            names.retain(|name| !is_trusted(name));
        }
        Ok(names)
    }

    /// Sets an attribute, the file copied up first; `flags` are `XATTR_CREATE` and `XATTR_REPLACE`.
    pub fn setxattr(&self, node: u64, name: &OsStr, value: &[u8], flags: u32, caller: Caller) -> Result<()> {
        let inode = self.inode(node)?;
        self.check_xattr(name)?;
        let value = self.ids.stored_xattr(name, value.to_vec())?;
        let copied = self.copy_up(&inode, Content::AttributesSuffice)?;
        let access = copied.map_or_else(|| self.access(&inode), Ok)?;
        if name == CAPABILITY {
            inode.expect_capability();
        }
        let entries = inode.is_dir().then(|| inode.lock_entries());
        sysx::setxattr(access.xattrs(), name, &value, flags)?;
        drop(entries);
        if !acl::is_acl(name) {
            return Ok(());
        }
        if inode.is_dir() {
            inode.with_dir_mut(|dir| dir.default_acl = None)?;
        }
        if name == acl::ACCESS {
            self.drop_foreign_set_gid(&inode, caller)?;
        }
        Ok(())
    }

    /// Removes an attribute, the file copied up first.
    pub fn removexattr(&self, node: u64, name: &OsStr) -> Result<()> {
        let inode = self.inode(node)?;
        self.check_xattr(name)?;
        let present = sysx::getxattr_into(self.access(&inode)?.xattrs(), name, &mut []);
        if let Err(Errno::NODATA) = present {
            return Err(Error::NoAttribute);
        }
        self.copy_up(&inode, Content::AttributesSuffice)?;
        if inode.is_dir() {
            inode.with_dir_mut(|dir| dir.default_acl = None)?;
        }
        let access = self.access(&inode)?;
        let _entries = inode.is_dir().then(|| inode.lock_entries());
        Ok(sysx::removexattr(access.xattrs(), name)?)
    }

    fn check_xattr(&self, name: &OsStr) -> Result<()> {
        if is_private(name) {
            return Err(Error::PrivateAttribute);
        }
        if acl::is_acl(name) && !self.config.acl {
            return Err(Error::Unsupported);
        }
        Ok(())
    }

    /// One who is not in a file's group and sets its ACL loses its set-group-id bit, as chmod would.
    fn drop_foreign_set_gid(&self, inode: &super::inode::Inode, caller: Caller) -> Result<()> {
        let access = self.access(inode)?;
        let real = self.real_stat(&access, UPPER, Some(inode.kind))?;
        let shown = self.attr_of(inode, &real);
        if real.perm() & S_ISGID == 0 || caller.uid == 0 || caller.is_in_group(shown.gid) {
            return Ok(());
        }
        self.store_mode(&access, &real, real.perm() & !S_ISGID, inode.kind)
    }
}

fn is_trusted(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"trusted.")
}
