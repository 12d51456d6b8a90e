//! Owners on disk and owners shown: id mappings and squashing.

use std::ffi::OsStr;

use crate::format::idmap::IdMap;
use crate::format::{acl, capability};

use super::config::Config;
use super::error::{Error, Result};

/// The id the kernel shows for one that has no mapping.
const OVERFLOW_ID: u32 = 65534;

/// The translation of owners between the layers and the view.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    uids: IdMap,
    gids: IdMap,
    squash_uid: Option<u32>,
    squash_gid: Option<u32>,
}

impl Ids {
    /// The translation that `config` asks for.
    pub fn new(config: &Config) -> Ids {
        Ids {
            uids: config.uid_map.clone(),
            gids: config.gid_map.clone(),
            squash_uid: config.squash_uid,
            squash_gid: config.squash_gid,
        }
    }

    /// Whether a mapping other than the identity is set.
    pub fn maps(&self) -> bool {
        !self.uids.is_identity() || !self.gids.is_identity()
    }

    /// Whether all files are shown with one owner, so that owners on disk do not matter.
    pub fn squashes(&self) -> bool {
        self.squash_uid.is_some() || self.squash_gid.is_some()
    }

    /// The owner to show for one on disk.
    pub fn shown(&self, uid: u32, gid: u32) -> (u32, u32) {
        (
            self.squash_uid.unwrap_or_else(|| self.uids.to_view(uid).unwrap_or(OVERFLOW_ID)),
            self.squash_gid.unwrap_or_else(|| self.gids.to_view(gid).unwrap_or(OVERFLOW_ID)),
        )
    }

    /// The owner to show for one of a layer whose mount maps ids itself.
    pub fn shown_premapped(&self, uid: u32, gid: u32) -> (u32, u32) {
        (self.squash_uid.unwrap_or(uid), self.squash_gid.unwrap_or(gid))
    }

    /// The user id to write for a shown one; `None` where squashing leaves the owner alone.
    pub fn stored_uid(&self, uid: u32) -> Result<Option<u32>> {
        match self.squash_uid {
            Some(_) => Ok(None),
            None => self.uids.to_disk(uid).map(Some).ok_or(Error::UnmappedId),
        }
    }

    /// The group id to write for a shown one; `None` where squashing leaves the group alone.
    pub fn stored_gid(&self, gid: u32) -> Result<Option<u32>> {
        match self.squash_gid {
            Some(_) => Ok(None),
            None => self.gids.to_disk(gid).map(Some).ok_or(Error::UnmappedId),
        }
    }

    /// The owner on disk of an entry made by a caller with these ids; one without a mapping, such as the host's root
    /// in a mount for a container, is nobody there. `None` where squashing leaves one alone.
    pub fn stored_creator(&self, uid: u32, gid: u32) -> (Option<u32>, Option<u32>) {
        (self.stored_uid(uid).unwrap_or(Some(OVERFLOW_ID)), self.stored_gid(gid).unwrap_or(Some(OVERFLOW_ID)))
    }

    /// An attribute's value from disk with the ids in it as shown: those of ACLs, and of the root that file capabilities
    /// are meant for. Capabilities whose root nobody sees are none (`None`).
    pub fn shown_xattr(&self, name: &OsStr, value: Vec<u8>) -> Option<Vec<u8>> {
        if !self.maps() {
            return Some(value);
        }
        if name == capability::NAME {
            return capability::map_root(&value, |id| self.uids.to_view(id));
        }
        if !acl::is_acl(name) {
            return Some(value);
        }
        let user = |id| self.uids.to_view(id).unwrap_or(OVERFLOW_ID);
        let group = |id| self.gids.to_view(id).unwrap_or(OVERFLOW_ID);
        Some(acl::map_ids(&value, user, group).unwrap_or(value))
    }

    /// A shown attribute's value with the ids in it as on disk.
    ///
    /// # Errors
    /// [`Error::UnmappedId`]: capabilities meant for a root that has no number there.
    pub fn stored_xattr(&self, name: &OsStr, value: Vec<u8>) -> Result<Vec<u8>> {
        if !self.maps() {
            return Ok(value);
        }
        if name == capability::NAME {
            return capability::map_root(&value, |id| self.uids.to_disk(id)).ok_or(Error::UnmappedId);
        }
        if !acl::is_acl(name) {
            return Ok(value);
        }
        let user = |id| self.uids.to_disk(id).unwrap_or(OVERFLOW_ID);
        let group = |id| self.gids.to_disk(id).unwrap_or(OVERFLOW_ID);
        Ok(acl::map_ids(&value, user, group).unwrap_or(value))
    }
}
