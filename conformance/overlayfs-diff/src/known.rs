//! What is left out of the comparison, each with the rule of docs/SEMANTICS.md that says why. This table is the
//! only place where a difference is let pass.

use rustix::fs::FileType;

use crate::tree::Mtime;

/// Something a comparison could look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// `st_nlink`.
    Nlink,
    /// `st_ino` and `d_ino` as numbers. (That two paths are one file is compared.)
    InodeNumber,
    /// `st_size` and `st_blocks` of a directory, `st_blocks` of a file.
    Blocks,
    /// Access and change times.
    OtherTimes,
    /// Modification times of this run, to the nanosecond.
    PreciseNow,
    /// The modification time of a regular file where one side has set it to now; see [`mtimes_agree`].
    MtimeAfterDataCopyUp,
    /// The modification time of a directory that holds an end of a rename that failed.
    MtimeAfterFailedRename,
    /// `st_nlink` of an open file of a lower whose last name was removed.
    NlinkOfUnlinked,
    /// Whether attributes of an open file of a lower can be changed once its last name was removed.
    ChangingUnlinked,
}

struct Known {
    fact: Fact,
    /// Directories only, or everything.
    directories_only: bool,
    #[allow(dead_code, reason = "for the reader")]
    rule: &'static str,
    #[allow(dead_code, reason = "for the reader")]
    why: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        fact: Fact::Nlink,
        directories_only: true,
        rule: "SEMANTICS.md S28",
        why: "a merged directory has 1 in the kernel's overlayfs; counting would cost a listing",
    },
    Known {
        fact: Fact::InodeNumber,
        directories_only: false,
        rule: "SEMANTICS.md S25",
        why: "two file systems number as they like; stability has tests of its own",
    },
    Known {
        fact: Fact::Blocks,
        directories_only: false,
        rule: "SEMANTICS.md S30",
        why: "depends on how a copy-up writes: holes, metadata-only copies",
    },
    Known {
        fact: Fact::OtherTimes,
        directories_only: false,
        rule: "SEMANTICS.md S35",
        why: "atime follows the mount options of the backing file system; ctime cannot be set",
    },
    Known {
        fact: Fact::PreciseNow,
        directories_only: false,
        rule: "SEMANTICS.md S35",
        why: "the two sides act one after the other",
    },
    Known {
        fact: Fact::MtimeAfterDataCopyUp,
        directories_only: false,
        rule: "SEMANTICS.md S20",
        why: "where only metadata was copied up before, the kernel's later copy-up of the data (any open for writing) \
              leaves the time of the copy as the modification time; plyfs keeps the file's. That writing sets the \
              time is compared after each write",
    },
    Known {
        fact: Fact::MtimeAfterFailedRename,
        directories_only: true,
        rule: "SEMANTICS.md S19",
        why: "the kernel copies up before it finds that it cannot rename, and the directory's time tells; plyfs looks \
              first",
    },
    Known {
        fact: Fact::NlinkOfUnlinked,
        directories_only: false,
        rule: "SEMANTICS.md S28",
        why: "the kernel goes on showing the count that the lower's file has; plyfs shows 0",
    },
    Known {
        fact: Fact::ChangingUnlinked,
        directories_only: false,
        rule: "SEMANTICS.md S29",
        why: "the kernel would copy the file up to the name that is gone, and says EEXIST; plyfs changes the open file. \
              Both close it then, since they are two files from there on",
    },
];

/// Whether two modification times agree: of a regular file, one may be now and the other older. (After the uppers were
/// exchanged, either may be the kernel's.)
pub fn mtimes_agree(kind: FileType, one: Mtime, other: Mtime) -> bool {
    one == other
        || (!compared(Fact::MtimeAfterDataCopyUp, kind)
            && kind == FileType::RegularFile
            && [one, other].contains(&Mtime::Now))
}

/// Whether an open file's count of links may be this: one that has none left.
pub fn nlinks_agree(reference: Option<u64>, other: Option<u64>) -> bool {
    reference == other
        || (passes(Fact::NlinkOfUnlinked) && reference.is_some_and(|count| count > 0) && other == Some(0))
}

/// Whether a difference in a fact is let pass at all.
pub fn passes(fact: Fact) -> bool {
    KNOWN.iter().any(|known| known.fact == fact)
}

/// Whether a fact about a file of this type is compared.
pub fn compared(fact: Fact, kind: FileType) -> bool {
    !KNOWN.iter().any(|known| known.fact == fact && (!known.directories_only || kind == FileType::Directory))
}

/// Whether an extended attribute is compared: all but a file system's private ones, which the kernel's overlayfs
/// hides itself, and labels of a security module.
pub fn compared_xattr(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.") && name != b"security.selinux"
}
