//! POSIX ACLs as they stand in extended attributes: version 2, then tag, permissions and id of each entry.

use crate::harness::Union;

pub const ACCESS: &str = "system.posix_acl_access";
pub const DEFAULT: &str = "system.posix_acl_default";

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// An ACL that gives one named user some permissions: owner and group have all, others none.
pub fn blob(user: u32, permissions: u16) -> Vec<u8> {
    let mut blob = 2u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    let entries = [
        (USER_OBJ, 7, none),
        (USER, permissions, user),
        (GROUP_OBJ, 7, none),
        (MASK, 7, none),
        (OTHER, 0, none),
    ];
    for (tag, permissions, id) in entries {
        blob.extend_from_slice(&tag.to_le_bytes());
        blob.extend_from_slice(&permissions.to_le_bytes());
        blob.extend_from_slice(&id.to_le_bytes());
    }
    blob
}

/// The named user of an ACL and that user's permissions.
pub fn named_user_of(blob: &[u8]) -> Option<(u32, u16)> {
    blob.get(4..)?.chunks_exact(8).find_map(|entry| {
        let word = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        (word(0) == USER).then(|| (id, word(2)))
    })
}

/// The same of a file of the view.
pub fn named_user(u: &Union, path: &str, which: &str) -> Option<(u32, u16)> {
    let value = u.fs().getxattr(u.node(path).expect("there"), which.as_ref()).ok()?;
    named_user_of(&value)
}
