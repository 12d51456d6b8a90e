//! The mounts of this process, as /proc/self/mountinfo lists them (proc_pid_mountinfo(5)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The device number of a mounted file system; no two live ones share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// The number of the mount that it lies on.
    pub parent: u64,
    /// The file system's device.
    pub device: Device,
    /// Where it is mounted, from this process's root.
    pub mount_point: PathBuf,
    /// The flags of this mount, such as `rw,nodev`.
    pub mount_options: String,
    /// The file system's type.
    pub fs_type: OsString,
    /// The flags of the file system, such as `ro`.
    pub super_options: String,
}

impl Entry {
    /// Whether this is a file system in user space.
    pub fn is_fuse(&self) -> bool {
        self.fs_type == "fuse" || self.fs_type.as_bytes().starts_with(b"fuse.")
    }

    /// Whether the mount or its file system is read-only.
    pub fn is_read_only(&self) -> bool {
        [&self.mount_options, &self.super_options].iter().any(|list| list.split(',').any(|o| o == "ro"))
    }
}

/// The mounts of this process, the older ones first.
///
/// # Errors
/// /proc is not there.
pub fn read() -> io::Result<Vec<Entry>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount that a path lookup of the absolute `path` ends at; `None` where nothing is mounted there.
pub(super) fn topmost<'a>(entries: &'a [Entry], path: &Path) -> Option<&'a Entry> {
    entries.iter().rev().find(|entry| entry.mount_point == path)
}

/// The lines of `table`; lines of another shape are left out.
pub fn parse(table: &[u8]) -> Vec<Entry> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    Some(Entry {
        id: text(fields.first()?).parse().ok()?,
        parent: text(fields.get(1)?).parse().ok()?,
        device: parse_device(fields.get(2)?)?,
        mount_point: PathBuf::from(unescape(fields.get(4)?)),
        mount_options: text(fields.get(5)?),
        fs_type: OsStr::from_bytes(fields.get(dash + 1)?).to_owned(),
        super_options: text(fields.get(dash + 3)?),
    })
}

fn parse_device(field: &[u8]) -> Option<Device> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// Resolves the kernel's `\040`-style octal escapes.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] if *first == b'\\' => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = behind;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        40 22 0:35 / /m\\040n\\134 rw,nodev - fuse.plyfs ply\\040fs ro,user_id=0\n\
        41 22 0:36 / /m\\040n\\134 rw shared:2 master:3 - tmpfs none rw\n\
        nonsense\n";

    #[test]
    fn lines_are_read() {
        let entries = parse(TABLE);
        assert_eq!(entries.len(), 3);
        let fuse = &entries[1];
        assert_eq!(fuse.device, Device { major: 0, minor: 35 });
        assert_eq!(fuse.mount_point, Path::new("/m n\\"));
        assert!(fuse.is_fuse() && fuse.is_read_only());
        assert!(!entries[0].is_fuse() && !entries[0].is_read_only());
    }

    #[test]
    fn the_last_mount_covers_the_others() {
        let entries = parse(TABLE);
        assert_eq!(topmost(&entries, Path::new("/m n\\")).map(|e| e.device.minor), Some(36));
        assert_eq!(topmost(&entries, Path::new("/other")), None);
    }
}
