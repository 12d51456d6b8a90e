//! How unpacking fails. Every failure of an entry names it, with bytes that are no printable ASCII escaped.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;
use crate::sys::Errno;

/// A layer that could not be unpacked. What is in the target by then is no layer.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The target could not be opened.
    #[error("cannot unpack into {}", path.display())]
    Target {
        /// The target directory.
        path: PathBuf,
        /// Why it failed.
        source: Errno,
    },
    /// The stream could not be read; a compressed one that is damaged among them.
    #[error("cannot read the layer's tar")]
    Read(#[source] io::Error),
    /// The stream is no tar, or a damaged one.
    #[error("the layer is damaged: at byte {offset} of its tar {why}")]
    Tar {
        /// Where the header begins.
        offset: u64,
        /// What is wrong, as the end of a sentence.
        why: &'static str,
    },
    /// The layer is larger than allowed.
    #[error("the layer is refused: it has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// An entry that no layer may have.
    #[error("the layer is refused: entry {entry}: {why}")]
    Refused {
        /// The entry.
        entry: EntryName,
        /// What is wrong with it.
        why: Refusal,
    },
    /// An entry could not be written.
    #[error("cannot {action} for entry {entry}")]
    System {
        /// The entry.
        entry: EntryName,
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: Errno,
    },
    /// A lower layer could not be read.
    #[error("cannot read a lower layer for entry {entry}")]
    Lower {
        /// The entry that needed it.
        entry: EntryName,
        /// Why it failed.
        source: LayerError,
    },
}

/// The name of an entry as it stands in the tar. Displayed escaped, in quotes.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryName(pub Vec<u8>);

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The path has no component that could name a file.
    #[error("its name is empty")]
    EmptyName,
    /// The path, or a link's target, holds a NUL byte.
    #[error("its {0} holds a NUL byte")]
    Nul(&'static str),
    /// The path or a hard link's target has a component `..`.
    #[error("its {0} has a component \"..\"")]
    DotDot(&'static str),
    /// One component is longer than a file name can be.
    #[error("its {0} has a component of more than 255 bytes")]
    LongComponent(&'static str),
    /// Something is larger than the limits allow.
    #[error("its {what} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The root of the layer is something other than a directory.
    #[error("the layer's root must be a directory")]
    RootType,
    /// The way to the entry leads through something that is no directory.
    #[error("{0} is no directory")]
    NotADirectory(EntryName),
    /// Symbolic links of the lower layers lead nowhere, in a circle, or too far.
    #[error("the symbolic link {0} of a lower layer leads to no directory")]
    BadLink(EntryName),
    /// A whiteout of nothing, of `.` or of `..`; or one where no whiteout can be.
    #[error("it is no valid whiteout")]
    BadWhiteout,
    /// A directory or file whose own name, or a parent's, is reserved for whiteouts.
    #[error("names that begin with .wh. are reserved for whiteouts")]
    ReservedName,
    /// A character device 0:0, which would be taken for a whiteout.
    #[error("a character device 0:0 would be taken for a whiteout")]
    WhiteoutDevice,
    /// A device number beyond what Linux has.
    #[error("its device number is out of range")]
    Device,
    /// A hard link to nothing.
    #[error("there is no file {0} to link to")]
    LinkTarget(EntryName),
    /// A hard link to a directory.
    #[error("its link target {0} is a directory")]
    LinkToDirectory(EntryName),
    /// A link without a target.
    #[error("it is a link without a target")]
    EmptyLink,
    /// An owner beyond 32 bits.
    #[error("its {0} is out of range")]
    OutOfRange(&'static str),
    /// A sparse file, GNU's or PAX's.
    #[error("sparse entries are not allowed in a layer")]
    Sparse,
    /// A type flag without a meaning here.
    #[error("its type {0:?} is unknown")]
    Type(char),
    /// The stream ends too early.
    #[error("the tar ends within its content")]
    Truncated,
    /// A malformed PAX record.
    #[error("its PAX header {0}")]
    Pax(&'static str),
}

/// A failure before it is known which entry it belongs to.
#[derive(Debug)]
pub(super) enum Fault {
    /// The entry is refused.
    Refused(Refusal),
    /// A system call failed: what was attempted, and why.
    System(&'static str, Errno),
    /// A lower layer could not be read.
    Lower(LayerError),
    /// It is not about the entry.
    Whole(UnpackError),
}

impl Fault {
    /// The failure with the entry's name.
    pub(super) fn at(self, entry: &[u8]) -> UnpackError {
        let entry = EntryName(entry.to_vec());
        match self {
            Fault::Refused(why) => UnpackError::Refused { entry, why },
            Fault::System(action, source) => UnpackError::System { entry, action, source },
            Fault::Lower(source) => UnpackError::Lower { entry, source },
            Fault::Whole(error) => error,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(why: Refusal) -> Fault {
        Fault::Refused(why)
    }
}

impl From<LayerError> for Fault {
    fn from(error: LayerError) -> Fault {
        Fault::Lower(error)
    }
}

impl From<UnpackError> for Fault {
    fn from(error: UnpackError) -> Fault {
        Fault::Whole(error)
    }
}
