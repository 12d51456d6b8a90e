//! `overlay.origin`: the file handle of the lower file that an upper file was copied from.
//!
//! The form is the kernel's `struct ovl_fb` (fs/overlayfs/overlayfs.h): version 0, magic 0xfb, whole length,
//! flags, handle type, file system UUID, handle. The same bytes in hexadecimal name an index entry.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
/// Bytes before the handle.
const HEADER: usize = 21;
/// `OVL_FH_FLAG_CPU_ENDIAN`.
const FLAGS: u8 = if cfg!(target_endian = "big") { 1 } else { 0 };
/// The longest handle that the one-byte length allows; the kernel's own limit is 128.
const MAX_HANDLE: usize = u8::MAX as usize - HEADER;

/// A lower file, named by its file system and its handle in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The kernel's file handle type (`fileid_type`).
    pub kind: u8,
    /// The file system's UUID, or zeros where it is not told.
    pub uuid: [u8; 16],
    /// The opaque handle, at most 128 bytes.
    pub handle: Vec<u8>,
}

impl Origin {
    /// The attribute's value. A handle longer than the format can say is cut off.
    pub fn encode(&self) -> Vec<u8> {
        let handle = &self.handle[..self.handle.len().min(MAX_HANDLE)];
        let len = (HEADER + handle.len()) as u8;
        let mut value = vec![VERSION, MAGIC, len, FLAGS, self.kind];
        value.extend_from_slice(&self.uuid);
        value.extend_from_slice(handle);
        value
    }

    /// Reads the attribute's value; `None` where it is not of this version and byte order. The empty value,
    /// with which the kernel says "copied up, from a file without a handle", is `None` too.
    pub fn decode(value: &[u8]) -> Option<Origin> {
        let [version, magic, len, flags, kind, rest @ ..] = value else { return None };
        let len = usize::from(*len);
        if (*version, *magic, *flags) != (VERSION, MAGIC, FLAGS) || len < HEADER || len > value.len() {
            return None;
        }
        let (uuid, _) = rest.split_first_chunk::<16>()?;
        Some(Origin { kind: *kind, uuid: *uuid, handle: value[HEADER..len].to_vec() })
    }

    /// The name of the file's entry in the index directory, as the kernel makes it.
    pub fn index_name(&self) -> OsString {
        let mut name = String::with_capacity(2 * (HEADER + self.handle.len()));
        for byte in self.encode() {
            // Writing to a String cannot fail.
            if write!(name, "{byte:02x}").is_err() {
                break;
            }
        }
        name.into()
    }

    /// The file that an index entry of this name stands for; `None` where the name is not one.
    pub fn from_index_name(name: &OsStr) -> Option<Origin> {
        let (pairs, rest) = name.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[hi, lo]| Some(nibble(*hi)? << 4 | nibble(*lo)?)).collect();
        if rest.is_empty() { Origin::decode(&bytes?) } else { None }
    }

    /// The inode number inside the handle, for the handle types of ext4, XFS, btrfs, tmpfs and their like;
    /// `None` for any other.
    pub fn inode_number(&self) -> Option<u64> {
        let handle = &self.handle[..];
        match (self.kind, handle.len()) {
            // FILEID_INO32_GEN as tmpfs fills it: generation, low half, high half.
            (0x01, 12) => Some(u64::from(word(handle, 1)?) | u64::from(word(handle, 2)?) << 32),
            // FILEID_INO32_GEN and FILEID_INO32_GEN_PARENT.
            (0x01, 8) | (0x02, _) => word(handle, 0).map(u64::from),
            // FILEID_INO64_GEN(_PARENT) and XFS's 64-bit forms, then btrfs.
            (0x81 | 0x82 | 0x4d..=0x4f, _) => handle.first_chunk().map(|raw| u64::from_ne_bytes(*raw)),
            _ => None,
        }
    }
}

/// The 32-bit word at `index`, in the machine's byte order.
fn word(handle: &[u8], index: usize) -> Option<u32> {
    handle.get(4 * index..)?.first_chunk().map(|raw| u32::from_ne_bytes(*raw))
}

/// The value of a lower-case hexadecimal digit.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext4() -> Origin {
        let handle = [12u32.to_ne_bytes(), 99u32.to_ne_bytes()].concat();
        Origin { kind: 1, uuid: *b"0123456789abcdef", handle }
    }

    #[test]
    fn the_kernels_layout() {
        let value = ext4().encode();
        assert_eq!(value.len(), 29);
        assert_eq!(value[..5], [0, 0xfb, 29, FLAGS, 1]);
        assert_eq!(value[5..21], *b"0123456789abcdef");
        assert_eq!(Origin::decode(&value), Some(ext4()));
    }

    #[test]
    fn index_names_go_both_ways() {
        let name = ext4().index_name();
        assert!(name.as_bytes().starts_with(b"00fb1d"));
        assert_eq!(name.len(), 58);
        assert_eq!(Origin::from_index_name(&name), Some(ext4()));
        for bad in ["", "0", "00fb1d", "00FB1D", "work", "#1"] {
            assert_eq!(Origin::from_index_name(OsStr::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn foreign_values_are_refused() {
        let good = ext4().encode();
        assert_eq!(Origin::decode(b""), None);
        assert_eq!(Origin::decode(&good[..28]), None);
        for (at, byte) in [(0, 1), (1, 0xfa), (2, 20), (3, FLAGS ^ 1), (3, FLAGS | 4)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Origin::decode(&bad), None, "byte {at} = {byte}");
        }
    }

    #[test]
    fn a_longer_attribute_is_cut_at_its_own_length() {
        let mut value = ext4().encode();
        value.push(7);
        assert_eq!(Origin::decode(&value), Some(ext4()));
    }

    #[test]
    fn an_overlong_handle_still_makes_a_readable_value() {
        let origin = Origin { handle: vec![1; 300], ..ext4() };
        let back = Origin::decode(&origin.encode()).expect("readable");
        assert_eq!(back.handle.len(), MAX_HANDLE);
    }

    #[test]
    fn inode_numbers() {
        let words = |list: &[u32]| list.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<u8>>();
        let long = |n: u64| [&n.to_ne_bytes()[..], &[0; 12]].concat();
        let table = [
            (1, words(&[12, 99]), Some(12)),
            (1, words(&[99, 5, 1]), Some((1 << 32) | 5)),
            (2, words(&[13, 1, 2, 3]), Some(13)),
            (0x81, long(1 << 40), Some(1 << 40)),
            (0x82, long(7), Some(7)),
            (0x4d, long(257), Some(257)),
            (0x4f, long(258), Some(258)),
            (0x81, vec![1; 4], None),
            (1, vec![1; 4], None),
            (0x60, vec![1; 8], None),
        ];
        for (kind, handle, number) in table {
            assert_eq!(Origin { kind, uuid: [0; 16], handle }.inode_number(), number, "{kind:#x}");
        }
    }
}
