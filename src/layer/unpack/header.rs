//! One raw tar header: v7, ustar, star and GNU forms (POSIX.1-2024 pax; GNU tar; what Go's archive/tar reads).
//!
//! Numbers are read here and not by the tar crate, which passes over the upper bytes of large ones.

use super::stream::BLOCK;

/// One header's fields as they stand in the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawHeader {
    /// The type flag.
    pub flag: u8,
    /// The name, with ustar's prefix.
    pub name: Vec<u8>,
    /// The link's target.
    pub link: Vec<u8>,
    /// Permission bits, `07777` at most.
    pub mode: u32,
    /// The owner, of any size.
    pub uid: i128,
    /// The group, of any size.
    pub gid: i128,
    /// The content's length.
    pub size: u64,
    /// Seconds since the epoch, of any size.
    pub mtime: i128,
    /// Major and minor number, of any size.
    pub device: (i128, i128),
}

/// What is wrong with a header, as the end of a sentence.
pub type Wrong = &'static str;

/// Which dialect a header speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl RawHeader {
    /// Reads a block that is not all zeros.
    ///
    /// # Errors
    /// A wrong checksum, or a field that is no number.
    pub fn parse(block: &[u8; BLOCK]) -> Result<RawHeader, Wrong> {
        check_sum(block)?;
        let dialect = dialect(block);
        let device = match dialect {
            Dialect::V7 => (0, 0),
            // Old writers leave junk here for what is no device; it only matters for one.
            _ => (number(&block[329..337]).unwrap_or(-1), number(&block[337..345]).unwrap_or(-1)),
        };
        let mode = number(&block[100..108]).ok_or("there is a mode that is no number")?;
        let size = number(&block[124..136]).ok_or("there is a size that is no number")?;
        Ok(RawHeader {
            flag: block[156],
            name: name(block, dialect),
            link: text(&block[157..257]).to_vec(),
            mode: (mode & 0o7777) as u32,
            uid: number(&block[108..116]).ok_or("there is an owner that is no number")?,
            gid: number(&block[116..124]).ok_or("there is a group that is no number")?,
            size: u64::try_from(size).map_err(|_| "there is a size that is out of range")?,
            mtime: number(&block[136..148]).ok_or("there is a time that is no number")?,
            device,
        })
    }
}

/// Accepts the sum of unsigned bytes, and the sum of signed ones that some old writers made.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), Wrong> {
    let stated = number(&block[148..156]).ok_or("there is no header")?;
    let others = || block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
    let unsigned: i128 = others().map(|byte| i128::from(*byte)).sum();
    let signed: i128 = others().map(|byte| i128::from(*byte as i8)).sum();
    if stated == unsigned || stated == signed {
        Ok(())
    } else {
        Err("there is a header with a wrong checksum")
    }
}

fn dialect(block: &[u8; BLOCK]) -> Dialect {
    match &block[257..265] {
        b"ustar  \0" => Dialect::Gnu,
        [b'u', b's', b't', b'a', b'r', 0, ..] if &block[508..] == b"tar\0" => Dialect::Star,
        [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
        _ => Dialect::V7,
    }
}

/// The name with the prefix where the dialect has one.
fn name(block: &[u8; BLOCK], dialect: Dialect) -> Vec<u8> {
    let prefix = match dialect {
        Dialect::V7 => &[],
        Dialect::Ustar => text(&block[345..500]),
        Dialect::Star => text(&block[345..476]),
        Dialect::Gnu => mistaken_prefix(block),
    };
    let name = text(&block[..100]);
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// The prefix in a GNU header, which has none: Go before 1.8 wrote one there, and layers made with it exist.
/// The field holds two times otherwise.
fn mistaken_prefix(block: &[u8; BLOCK]) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || number(field).is_some();
    let prefix = text(&block[345..500]);
    let times = is_time(&block[345..357]) && is_time(&block[357..369]);
    if times || !prefix.is_ascii() { &[] } else { prefix }
}

/// A text field, up to its first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits among spaces and NULs, or base 256 (two's complement) where the top bit is set. An
/// empty field is zero.
fn number(field: &[u8]) -> Option<i128> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // Seven bits of the first byte count, the upper one of them being the sign.
        let top = i128::from(*first & 0x7f) - if first & 0x40 != 0 { 0x80 } else { 0 };
        // A field has 12 bytes at most, so 95 bits.
        return Some(rest.iter().fold(top, |sum, byte| sum << 8 | i128::from(*byte)));
    }
    let is_filling = |byte: &u8| *byte == b' ' || *byte == 0;
    let begin = field.iter().position(|byte| !is_filling(byte)).unwrap_or(field.len());
    let digits = field[begin..].split(is_filling).next()?;
    let tail = &field[begin + digits.len()..];
    if !digits.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    // Behind a NUL anything may stand; behind a space only more filling.
    if tail.first() == Some(&b' ') && !text(tail).iter().all(is_filling) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum << 3 | i128::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let table: [(&[u8], Option<i128>); 14] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0junk", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"8", None),
            (b"-1", None),
            (b"12 34\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x01\0\0\0\0\0\0\0", Some(1 << 56)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", Some(1 << 80)),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", Some(-(1 << 94))),
        ];
        for (field, value) in table {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    fn sealed(fill: impl FnOnce(&mut [u8; BLOCK])) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        fill(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    #[test]
    fn prefixes_belong_to_ustar() {
        let named = |magic: &[u8], prefix: &[u8]| {
            let block = sealed(|block| {
                block[..4].copy_from_slice(b"name");
                block[257..257 + magic.len()].copy_from_slice(magic);
                block[345..345 + prefix.len()].copy_from_slice(prefix);
            });
            RawHeader::parse(&block).expect("good").name
        };
        assert_eq!(named(b"ustar\x0000", b"a/b"), b"a/b/name");
        assert_eq!(named(b"ustar  \0", b"01234567\0"), b"name");
        assert_eq!(named(b"ustar  \0", b"some/prefix"), b"some/prefix/name");
        assert_eq!(named(b"", b"a/b"), b"name");
    }

    #[test]
    fn checksums() {
        let mut block = sealed(|block| block[0] = b'n');
        assert!(RawHeader::parse(&block).is_ok());
        block[0] = b'm';
        assert!(RawHeader::parse(&block).is_err());
        let mut signed = sealed(|block| block[0] = 0xff);
        let sum: i32 = signed.iter().enumerate().fold(0, |sum, (at, byte)| {
            sum + if (148..156).contains(&at) { 32 } else { i32::from(*byte as i8) }
        });
        signed[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(RawHeader::parse(&signed).is_ok());
    }
}
