//! The headers of a layer's tar: ustar, with PAX records for what ustar cannot say.
//!
//! Equal input makes equal bytes: no name of a user or group, no time but the file's, records in byte order.

use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::layer::node::Time;
use crate::layer::source::Xattrs;

/// The size of a tar block.
pub const BLOCK: usize = 512;
/// The longest name that is kept in the ustar field; ustar's prefix field is not used.
const NAME: usize = 100;
/// The first number that is too large for an octal field of seven and of eleven digits.
const OCTAL_7: u64 = 1 << 21;
const OCTAL_11: u64 = 1 << 33;

/// The type of an entry, by its ustar flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A regular file; its content follows.
    File,
    /// Another name of a file that the tar already has.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Dir,
    /// A FIFO.
    Pipe,
}

/// One entry's metadata.
#[derive(Debug, Clone)]
pub struct Header {
    /// The path in the tar, without a leading slash; a directory's ends with one.
    pub path: Vec<u8>,
    /// The type.
    pub entry_type: EntryType,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The content's length in bytes.
    pub size: u64,
    /// The time of the last modification.
    pub mtime: Time,
    /// The target of a link; empty otherwise.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes: name and value.
    pub xattrs: Xattrs,
}

impl Header {
    /// The header's blocks: a PAX header with its records where one is needed, then the ustar header.
    ///
    /// # Errors
    /// Where a field cannot be told even so.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let records = self.pax_records();
        let mut blocks = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            blocks.extend_from_slice(pax_header(records.len() as u64)?.as_bytes());
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        blocks.extend_from_slice(self.ustar()?.as_bytes());
        Ok(blocks)
    }

    /// The ustar header. Fields that do not fit are zero or cut off; the PAX records have them.
    fn ustar(&self) -> io::Result<tar::Header> {
        let mut header = tar::Header::new_ustar();
        copy(&mut header.as_old_mut().name, &self.path);
        copy(&mut header.as_old_mut().linkname, &self.link);
        header.set_entry_type(self.entry_type.flag());
        header.set_mode(self.mode);
        header.set_uid(fit(self.uid.into(), OCTAL_7));
        header.set_gid(fit(self.gid.into(), OCTAL_7));
        header.set_size(fit(self.size, OCTAL_11));
        header.set_mtime(u64::try_from(self.mtime.seconds).map_or(0, |seconds| fit(seconds, OCTAL_11)));
        header.set_device_major(self.device.0)?;
        header.set_device_minor(self.device.1)?;
        header.set_cksum();
        Ok(header)
    }

    /// The PAX records, in byte order of their keys.
    fn pax_records(&self) -> Vec<u8> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |key: &str, value: Vec<u8>| records.push((key.as_bytes().to_vec(), value));
        if !fits_name(&self.path) {
            add("path", self.path.clone());
        }
        if !fits_name(&self.link) {
            add("linkpath", self.link.clone());
        }
        if u64::from(self.uid) >= OCTAL_7 {
            add("uid", self.uid.to_string().into_bytes());
        }
        if u64::from(self.gid) >= OCTAL_7 {
            add("gid", self.gid.to_string().into_bytes());
        }
        if self.size >= OCTAL_11 {
            add("size", self.size.to_string().into_bytes());
        }
        let plain = u64::try_from(self.mtime.seconds).is_ok_and(|s| s < OCTAL_11) && self.mtime.nanos == 0;
        if !plain {
            add("mtime", decimal(self.mtime).into_bytes());
        }
        for (name, value) in &self.xattrs {
            records.push(([b"SCHILY.xattr.", name.as_bytes()].concat(), value.clone()));
        }
        records.sort();
        records.iter().flat_map(|(key, value)| pax_record(key, value)).collect()
    }
}

impl EntryType {
    /// The ustar flag.
    fn flag(self) -> tar::EntryType {
        match self {
            EntryType::File => tar::EntryType::Regular,
            EntryType::HardLink => tar::EntryType::Link,
            EntryType::Symlink => tar::EntryType::Symlink,
            EntryType::Char => tar::EntryType::Char,
            EntryType::Block => tar::EntryType::Block,
            EntryType::Dir => tar::EntryType::Directory,
            EntryType::Pipe => tar::EntryType::Fifo,
        }
    }
}

/// The ustar header that announces `size` bytes of PAX records.
fn pax_header(size: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    copy(&mut header.as_old_mut().name, b"PaxHeaders.0/entry");
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_cksum();
    Ok(header)
}

/// One record: `LENGTH KEY=VALUE\n`, the length counting itself.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A time as PAX writes it: decimal seconds, without trailing zeros.
fn decimal(time: Time) -> String {
    if time.nanos == 0 {
        return time.seconds.to_string();
    }
    // -1.75 s is kept as -2 s and 250,000,000 ns.
    let (sign, seconds, nanos) = match time.seconds {
        s if s < 0 => ("-", (s + 1).unsigned_abs(), 1_000_000_000 - time.nanos),
        s => ("", s.unsigned_abs(), time.nanos),
    };
    format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned()
}

/// Whether a name can be told by the ustar field alone.
fn fits_name(name: &[u8]) -> bool {
    name.len() <= NAME && name.is_ascii()
}

/// `number`, or 0 where the PAX records have it.
fn fit(number: u64, limit: u64) -> u64 {
    if number < limit { number } else { 0 }
}

/// Copies as much of `bytes` as the field holds.
fn copy(field: &mut [u8], bytes: &[u8]) {
    let length = field.len().min(bytes.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &[u8]) -> Header {
        Header {
            path: path.to_vec(),
            entry_type: EntryType::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 0,
            mtime: Time { seconds: 1, nanos: 0 },
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    /// What the tar crate reads back of the PAX records.
    fn pax(header: &Header) -> Vec<(String, Vec<u8>)> {
        let mut blocks = header.encode().expect("encodes");
        blocks.resize(blocks.len() + 2 * BLOCK, 0);
        let mut archive = tar::Archive::new(&blocks[..]);
        let mut entry = archive.entries().expect("a tar").next().expect("an entry").expect("readable");
        assert_eq!(entry.path_bytes(), &header.path[..]);
        let Some(records) = entry.pax_extensions().expect("records") else { return Vec::new() };
        let record = |r: io::Result<tar::PaxExtension<'_>>| {
            let r = r.expect("a record");
            (r.key().expect("a key").to_owned(), r.value_bytes().to_vec())
        };
        records.map(record).collect()
    }

    #[test]
    fn an_ordinary_file_needs_no_records() {
        let blocks = header(b"etc/passwd").encode().expect("encodes");
        assert_eq!(blocks.len(), BLOCK);
        assert_eq!(&blocks[257..265], b"ustar\x0000");
        assert!(pax(&header(b"etc/passwd")).is_empty());
    }

    #[test]
    fn names_that_ustar_cannot_hold() {
        let long = [b"d/".repeat(60), b"f".to_vec()].concat();
        for path in [&long[..], "gr\u{fc}n".as_bytes(), b"n\xff"] {
            assert_eq!(pax(&header(path)), [("path".to_owned(), path.to_vec())]);
        }
        assert!(pax(&header(&[b'n'; 100])).is_empty());
        let link = Header { link: vec![b'l'; 101], entry_type: EntryType::Symlink, ..header(b"l") };
        assert_eq!(pax(&link), [("linkpath".to_owned(), vec![b'l'; 101])]);
    }

    #[test]
    fn large_numbers() {
        let big = Header { uid: 1 << 21, gid: u32::MAX, ..header(b"f") };
        let expected = [("gid".to_owned(), b"4294967295".to_vec()), ("uid".to_owned(), b"2097152".to_vec())];
        assert_eq!(pax(&big), expected);
        let sized = Header { size: 1 << 33, ..header(b"f") };
        assert!(sized.pax_records().ends_with(b"size=8589934592\n"));
    }

    #[test]
    fn times() {
        let table = [
            (0, 500_000_000, "0.5"),
            (-2, 250_000_000, "-1.75"),
            (-1, 999_999_999, "-0.000000001"),
            (-5, 0, "-5"),
            (7, 1, "7.000000001"),
            (1 << 33, 0, "8589934592"),
        ];
        for (seconds, nanos, text) in table {
            let mtime = Time { seconds, nanos };
            let records = pax(&Header { mtime, ..header(b"f") });
            assert_eq!(records, [("mtime".to_owned(), text.as_bytes().to_vec())]);
        }
    }

    #[test]
    fn attributes_are_sorted_and_binary() {
        let xattrs = vec![("user.b".into(), b"\0=\xff".to_vec()), ("user.a".into(), Vec::new())];
        let records = pax(&Header { xattrs, ..header(b"f") });
        assert_eq!(records[0], ("SCHILY.xattr.user.a".to_owned(), Vec::new()));
        assert_eq!(records[1], ("SCHILY.xattr.user.b".to_owned(), b"\0=\xff".to_vec()));
        // The tar crate's reader stops at a newline inside a value; the record itself is right.
        assert_eq!(pax_record(b"SCHILY.xattr.user.c", b"a\nb"), b"27 SCHILY.xattr.user.c=a\nb\n");
    }

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for size in [0, 80, 86, 87, 88, 89, 90, 985, 986, 987, 988] {
            let record = pax_record(b"key", &vec![b'v'; size]);
            let text = String::from_utf8(record.clone()).expect("text");
            assert_eq!(text.split(' ').next(), Some(record.len().to_string().as_str()));
        }
    }
}
