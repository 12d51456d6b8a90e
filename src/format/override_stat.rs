//! `user.containers.override_stat`: the owner, mode and type of a file whose inode cannot hold them.
//!
//! The form is that of containers/storage: `uid:gid:0mode[:type]`, ids in decimal, mode in octal.

use super::FormatError;

const PERMISSIONS: u32 = 0o7777;

/// What the merged view shows in place of the inode's own owner, mode and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverrideStat {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, `07777` at most.
    pub mode: u32,
    /// The type; `None` leaves the inode's own.
    pub file_type: Option<OverrideType>,
}

/// The type of file that a stand-in represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideType {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; its target is the stand-in's content.
    Symlink,
    /// A FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// A block device of this major and minor number.
    Block(u32, u32),
    /// A character device of this major and minor number. 0:0 is a device, never a whiteout.
    Char(u32, u32),
}

impl OverrideStat {
    /// Reads the attribute's value. Mode bits beyond `07777` are dropped.
    ///
    /// # Errors
    /// [`FormatError::OverrideStat`] for a missing or additional field, a number that is none, or an
    /// unknown type.
    pub fn parse(value: &[u8]) -> Result<OverrideStat, FormatError> {
        let text = std::str::from_utf8(value).map_err(|_| FormatError::OverrideStat("is not text"))?;
        let mut fields = text.split(':');
        let uid = number(fields.next(), 10)?;
        let gid = number(fields.next(), 10)?;
        let mode = number(fields.next(), 8)? & PERMISSIONS;
        let file_type = fields.next().map(OverrideType::parse).transpose()?;
        match fields.next() {
            None => Ok(OverrideStat { uid, gid, mode, file_type }),
            Some(_) => Err(FormatError::OverrideStat("has too many fields")),
        }
    }

    /// The attribute's value, as [`OverrideStat::parse`] reads it.
    pub fn encode(&self) -> Vec<u8> {
        let OverrideStat { uid, gid, mode, .. } = self;
        match self.file_type {
            None => format!("{uid}:{gid}:0{mode:o}"),
            Some(kind) => format!("{uid}:{gid}:0{mode:o}:{}", kind.name()),
        }
        .into_bytes()
    }
}

/// The ordinary user who keeps a layer that records all owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeper {
    uid: u32,
    gid: u32,
}

impl Keeper {
    /// The keeper with these ids; `None` for root, whose files are simply theirs.
    pub fn of(uid: u32, gid: u32) -> Option<Keeper> {
        (uid != 0).then_some(Keeper { uid, gid })
    }

    /// The owner and group of a file without a record, as symbolic links are, from those of its inode: what belongs to
    /// the keeper is root's.
    pub fn unrecorded_owner(self, uid: u32, gid: u32) -> (u32, u32) {
        (if uid == self.uid { 0 } else { uid }, if gid == self.gid { 0 } else { gid })
    }
}

impl OverrideType {
    /// The `S_IF…` bits of this type.
    pub fn mode_bits(&self) -> u32 {
        match self {
            OverrideType::File => 0o100_000,
            OverrideType::Dir => 0o040_000,
            OverrideType::Symlink => 0o120_000,
            OverrideType::Pipe => 0o010_000,
            OverrideType::Socket => 0o140_000,
            OverrideType::Block(..) => 0o060_000,
            OverrideType::Char(..) => 0o020_000,
        }
    }

    /// Reads the fourth field.
    fn parse(field: &str) -> Result<OverrideType, FormatError> {
        Ok(match field {
            "file" => OverrideType::File,
            "dir" => OverrideType::Dir,
            "symlink" => OverrideType::Symlink,
            "pipe" => OverrideType::Pipe,
            "socket" => OverrideType::Socket,
            _ => return OverrideType::parse_device(field),
        })
    }

    /// Reads `block-M-m` or `char-M-m`.
    fn parse_device(field: &str) -> Result<OverrideType, FormatError> {
        let mut parts = field.split('-');
        let kind = parts.next();
        let (major, minor) = (number(parts.next(), 10)?, number(parts.next(), 10)?);
        match (kind, parts.next()) {
            (Some("block"), None) => Ok(OverrideType::Block(major, minor)),
            (Some("char"), None) => Ok(OverrideType::Char(major, minor)),
            _ => Err(FormatError::OverrideStat("has an unknown type")),
        }
    }

    /// The fourth field.
    fn name(&self) -> String {
        match self {
            OverrideType::File => "file".to_owned(),
            OverrideType::Dir => "dir".to_owned(),
            OverrideType::Symlink => "symlink".to_owned(),
            OverrideType::Pipe => "pipe".to_owned(),
            OverrideType::Socket => "socket".to_owned(),
            OverrideType::Block(major, minor) => format!("block-{major}-{minor}"),
            OverrideType::Char(major, minor) => format!("char-{major}-{minor}"),
        }
    }
}

/// A plain number: digits alone, no sign.
fn number(field: Option<&str>, radix: u32) -> Result<u32, FormatError> {
    let field = field.ok_or(FormatError::OverrideStat("has too few fields"))?;
    if !field.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FormatError::OverrideStat("has a field that is no number"));
    }
    u32::from_str_radix(field, radix).map_err(|_| FormatError::OverrideStat("has a field that is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_keeper_owns_without_a_record_is_roots() {
        assert_eq!(Keeper::of(0, 7), None);
        let keeper = Keeper::of(1000, 100).unwrap();
        assert_eq!(keeper.unrecorded_owner(1000, 100), (0, 0));
        assert_eq!(keeper.unrecorded_owner(1001, 100), (1001, 0));
        assert_eq!(keeper.unrecorded_owner(1000, 5), (0, 5));
    }

    #[test]
    fn good_values_go_both_ways() {
        let table = [
            ("0:0:0755", None),
            ("1000:1000:0644:file", Some(OverrideType::File)),
            ("0:0:01777:dir", Some(OverrideType::Dir)),
            ("0:0:0777:symlink", Some(OverrideType::Symlink)),
            ("0:0:0600:pipe", Some(OverrideType::Pipe)),
            ("0:0:00:socket", Some(OverrideType::Socket)),
            ("0:6:0660:block-8-1", Some(OverrideType::Block(8, 1))),
            ("4294967294:5:0666:char-0-0", Some(OverrideType::Char(0, 0))),
        ];
        for (text, file_type) in table {
            let stat = OverrideStat::parse(text.as_bytes()).expect(text);
            assert_eq!(stat.file_type, file_type);
            assert_eq!(stat.encode(), text.as_bytes());
        }
    }

    #[test]
    fn other_writers_forms_are_read() {
        let stat = OverrideStat::parse(b"5:6:100644").expect("no leading zero, type bits in the mode");
        assert_eq!((stat.uid, stat.gid, stat.mode), (5, 6, 0o644));
    }

    #[test]
    fn bad_values_are_refused() {
        for text in [
            "",
            "0",
            "0:0",
            "0:0:",
            "a:0:0755",
            "-1:0:0755",
            "+1:0:0755",
            "0:0:0789",
            "0:0:0755:",
            "0:0:0755:door",
            "0:0:0755:char-1",
            "0:0:0755:char-1-2-3",
            "0:0:0755:file:x",
            "4294967296:0:0755",
            "0:0:0755 ",
        ] {
            assert!(OverrideStat::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(OverrideStat::parse(b"\xff").is_err());
    }

    #[test]
    fn mode_bits() {
        assert_eq!(OverrideType::Char(0, 0).mode_bits(), 0o020_000);
        assert_eq!(OverrideType::Socket.mode_bits(), 0o140_000);
    }
}
