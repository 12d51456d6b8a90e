//! How reading or packing a layer fails. The system's reason is the source of each error and not in its own words.

use std::io;
use std::path::PathBuf;

use crate::format::FormatError;
use crate::sys::Errno;

/// A failure, with the path in the layer it happened at.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was attempted, as a verb.
        action: &'static str,
        /// Why it failed.
        source: Errno,
    },
    /// A file bears a mark that cannot be understood.
    #[error("bad mark at {}", path.display())]
    Mark {
        /// The file.
        path: PathBuf,
        /// What is wrong with the mark.
        source: FormatError,
    },
    /// A file says that its data lies in a lower layer, and no lower layer has it.
    #[error("{}: its data should be in a lower layer and is not; were all lower layers given?", path.display())]
    DataMissing {
        /// The file.
        path: PathBuf,
    },
    /// A file became shorter, or another file, or was written, while it was read.
    #[error(
        "{} changed while it was read; stop the programs that write it, or mount with -o io=cached",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The tar could not be written.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// The output file could not be made or published.
    #[error("cannot write {}", path.display())]
    Output {
        /// The output file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}
