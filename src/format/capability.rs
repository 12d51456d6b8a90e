//! `security.capability`: file capabilities, and the user namespace's root whom they are meant for.
//!
//! The form is `struct vfs_ns_cap_data` of linux/capability.h: a word with version and flags, four words of
//! capabilities, and in version 3 the id of the root of the namespaces in which they count; all little-endian. Version 2
//! has no such id and means 0.

/// The attribute.
pub const NAME: &str = "security.capability";

const REVISION: u32 = 0xff00_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;
/// Bytes before the root's id.
const CAPABILITIES: usize = 20;

/// The value with its root's id translated: version 2 where that is 0, else version 3. `None` where `translate` knows
/// no id for it; a value of another form stays as it is.
pub fn map_root(value: &[u8], translate: impl Fn(u32) -> Option<u32>) -> Option<Vec<u8>> {
    let Some((head, rest)) = value.split_first_chunk::<CAPABILITIES>() else { return Some(value.to_vec()) };
    let [m0, m1, m2, m3, ..] = *head;
    let magic = u32::from_le_bytes([m0, m1, m2, m3]);
    let root = match (magic & REVISION, rest) {
        (VERSION_2, []) => 0,
        (VERSION_3, [a, b, c, d]) => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => return Some(value.to_vec()),
    };
    let root = translate(root)?;
    let version = if root == 0 { VERSION_2 } else { VERSION_3 };
    let mut mapped = (magic & !REVISION | version).to_le_bytes().to_vec();
    mapped.extend_from_slice(&head[4..]);
    if root != 0 {
        mapped.extend_from_slice(&root.to_le_bytes());
    }
    Some(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(version: u32, root: Option<u32>) -> Vec<u8> {
        let mut value = (version | 1).to_le_bytes().to_vec();
        value.extend((1..=16u8).chain(root.into_iter().flat_map(u32::to_le_bytes)));
        value
    }

    #[test]
    fn the_root_is_translated_and_the_version_follows() {
        let map = |id: u32| if id < 1000 { Some(id + 100_000) } else { id.checked_sub(100_000) };
        assert_eq!(map_root(&value(VERSION_2, None), map), Some(value(VERSION_3, Some(100_000))));
        assert_eq!(map_root(&value(VERSION_3, Some(7)), map), Some(value(VERSION_3, Some(100_007))));
        assert_eq!(map_root(&value(VERSION_3, Some(100_000)), map), Some(value(VERSION_2, None)));
        assert_eq!(map_root(&value(VERSION_3, Some(5000)), map), None);
    }

    #[test]
    fn other_forms_stay() {
        for odd in [
            &b""[..],
            b"short",
            &value(0x0100_0000, None),
            &value(VERSION_3, None),
            &value(VERSION_2, Some(1)),
        ] {
            assert_eq!(map_root(odd, |_| None), Some(odd.to_vec()));
        }
    }
}
