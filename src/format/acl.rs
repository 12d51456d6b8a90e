//! POSIX ACLs as extended attributes: the ids inside them, and the mode bits they imply.
//!
//! The form is that of linux/posix_acl_xattr.h: a version word, then entries of tag, permissions and id,
//! all little-endian.

use std::ffi::OsStr;

/// The attribute of the ACL that decides access.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute of the ACL that a directory's new children inherit.
pub const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry, as it lies in the attribute.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// Whether `name` is one of the two ACL attributes.
pub fn is_acl(name: &OsStr) -> bool {
    name == ACCESS || name == DEFAULT
}

/// The attribute with the ids of its named users and groups translated; `None` where it is malformed.
pub fn map_ids(blob: &[u8], user: impl Fn(u32) -> u32, group: impl Fn(u32) -> u32) -> Option<Vec<u8>> {
    let mut mapped = blob.get(..HEADER)?.to_vec();
    for entry in entries(blob)? {
        let id = match entry.tag {
            USER => user(entry.id),
            GROUP => group(entry.id),
            _ => entry.id,
        };
        mapped.extend_from_slice(&entry.tag.to_le_bytes());
        mapped.extend_from_slice(&entry.perm.to_le_bytes());
        mapped.extend_from_slice(&id.to_le_bytes());
    }
    Some(mapped)
}

/// The nine mode bits that an access ACL implies: owner, mask (or owning group without one), others.
/// `None` where it is malformed.
pub fn mode_of(blob: &[u8]) -> Option<u32> {
    let entries: Vec<Entry> = entries(blob)?.collect();
    let perm = |tag| entries.iter().find(|e| e.tag == tag).map(|e| u32::from(e.perm & 7));
    let group = perm(MASK).or(perm(GROUP_OBJ))?;
    Some(perm(USER_OBJ)? << 6 | group << 3 | perm(OTHER)?)
}

/// The entries of a well-formed attribute.
fn entries(blob: &[u8]) -> Option<impl Iterator<Item = Entry> + '_> {
    let (version, body) = blob.split_first_chunk::<HEADER>()?;
    let (raw, rest) = body.as_chunks::<ENTRY>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return None;
    }
    Some(raw.iter().map(|[t0, t1, p0, p1, id @ ..]| Entry {
        tag: u16::from_le_bytes([*t0, *t1]),
        perm: u16::from_le_bytes([*p0, *p1]),
        id: u32::from_le_bytes(*id),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(list: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut blob = VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in list {
            blob.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(id.to_le_bytes()));
        }
        blob
    }

    #[test]
    fn only_named_ids_are_mapped() {
        let acl = |user, group| {
            blob(&[
                (USER_OBJ, 7, u32::MAX),
                (USER, 6, user),
                (GROUP_OBJ, 5, u32::MAX),
                (GROUP, 4, group),
                (MASK, 7, u32::MAX),
                (OTHER, 1, u32::MAX),
            ])
        };
        let mapped = map_ids(&acl(10, 20), |u| u + 1000, |g| g + 2000);
        assert_eq!(mapped, Some(acl(1010, 2020)));
    }

    #[test]
    fn mode_bits_come_from_the_mask_where_there_is_one() {
        let plain = [(USER_OBJ, 6, 0), (GROUP_OBJ, 4, 0), (OTHER, 1, 0)];
        assert_eq!(mode_of(&blob(&plain)), Some(0o641));
        let masked = [(USER_OBJ, 6, 0), (USER, 7, 9), (GROUP_OBJ, 4, 0), (MASK, 7, 0), (OTHER, 0, 0)];
        assert_eq!(mode_of(&blob(&masked)), Some(0o670));
    }

    #[test]
    fn malformed_values() {
        assert_eq!(map_ids(b"", |u| u, |g| g), None);
        assert_eq!(map_ids(&[1, 0, 0, 0], |u| u, |g| g), None);
        assert_eq!(map_ids(&[2, 0, 0, 0, 1], |u| u, |g| g), None);
        assert_eq!(mode_of(&blob(&[(USER_OBJ, 7, 0)])), None);
        assert!(is_acl(OsStr::new(DEFAULT)) && !is_acl(OsStr::new("system.nfs4_acl")));
    }
}
