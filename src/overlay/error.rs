//! The engine's errors and their one table to errno.

use crate::sys::Errno;

/// Why an operation on the union failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No visible entry has this name.
    #[error("no such file or directory")]
    NotFound,
    /// A visible entry has this name already.
    #[error("file exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// Something other than a directory was needed.
    #[error("is a directory")]
    IsDirectory,
    /// The directory has visible entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The union has no upper layer.
    #[error("read-only file system")]
    ReadOnly,
    /// A directory with a lower part cannot be moved while redirects are off.
    #[error("a directory with a lower part cannot be moved with redirect_dir=off")]
    CrossDevice,
    /// The name begins with `.wh.`, which marks deletions.
    #[error("names that begin with .wh. are reserved")]
    ReservedName,
    /// The attribute is one of the union's own marks.
    #[error("private attribute of the union")]
    PrivateAttribute,
    /// The file has no such attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The kernel named an inode that is not known (any more).
    #[error("stale inode")]
    Stale,
    /// The owner cannot be expressed on disk under the id mapping.
    #[error("id not mapped")]
    UnmappedId,
    /// An argument makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// The file system below, or the union, does not offer this.
    #[error("operation not supported")]
    Unsupported,
    /// A mark in a layer is damaged or leads nowhere.
    #[error("damaged layer")]
    DamagedLayer,
    /// The calling thread has no time for what is needed ([`super::Patience`]); nothing has changed for good.
    #[error("resource temporarily unavailable")]
    Long,
    /// Others are at long work on the inode of this node, and the calling thread is not to wait for them.
    #[error("resource temporarily unavailable")]
    Busy(u64),
    /// A system call on a layer failed.
    #[error("{0}")]
    System(Errno),
}

impl Error {
    /// The errno the caller of the file system sees.
    pub fn errno(self) -> Errno {
        match self {
            Error::NotFound => Errno::NOENT,
            Error::Exists => Errno::EXIST,
            Error::NotDirectory => Errno::NOTDIR,
            Error::IsDirectory => Errno::ISDIR,
            Error::NotEmpty => Errno::NOTEMPTY,
            Error::ReadOnly => Errno::ROFS,
            Error::CrossDevice => Errno::XDEV,
            Error::ReservedName | Error::Invalid | Error::UnmappedId => Errno::INVAL,
            Error::PrivateAttribute => Errno::PERM,
            Error::NoAttribute => Errno::NODATA,
            Error::Stale => Errno::STALE,
            Error::Unsupported => Errno::OPNOTSUPP,
            Error::DamagedLayer => Errno::IO,
            Error::Long | Error::Busy(_) => Errno::AGAIN,
            Error::System(errno) => errno,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Error::NotFound,
            other => Error::System(other),
        }
    }
}

/// The result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_keep_their_errno() {
        for errno in [Errno::NOENT, Errno::NOSPC, Errno::IO, Errno::MFILE] {
            assert_eq!(Error::from(errno).errno(), errno);
        }
    }
}
