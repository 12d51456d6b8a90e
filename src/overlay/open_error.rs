//! Why a union could not be put together, in words for the person who asked for it.

use std::path::PathBuf;

use crate::sys::Errno;

/// The reason a stack of layers was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No lower layer was given.
    #[error("no lower directory given: name at least one (lowerdir=DIR, or --lower DIR)")]
    NoLower,
    /// More layers than can be numbered.
    #[error("{0} lower directories given, at most {max} are possible", max = super::stack::MAX_LOWERS)]
    TooManyLowers(usize),
    /// An upper directory without a work directory.
    #[error(
        "upper directory {0} needs a work directory on the same file system (workdir=DIR, or --work DIR)"
    )]
    NoWork(PathBuf),
    /// A directory could not be opened.
    #[error(
        "cannot open the {role} directory {path}: {errno}; check that it exists, is a directory and can be searched"
    )]
    Directory {
        /// What it was to serve as.
        role: &'static str,
        /// The path as given.
        path: PathBuf,
        /// The reason.
        errno: Errno,
    },
    /// Two directories must not contain each other.
    #[error(
        "the {inner_role} directory {inner} lies inside the {outer_role} directory {outer}: they must not overlap"
    )]
    Overlap {
        /// What the inner one was to serve as.
        inner_role: &'static str,
        /// The inner one.
        inner: PathBuf,
        /// What the outer one was to serve as.
        outer_role: &'static str,
        /// The outer one.
        outer: PathBuf,
    },
    /// Upper and work directory must be on one mount.
    #[error(
        "work directory {work} is not on the file system of the upper directory {upper}: files could not be moved between them"
    )]
    WorkElsewhere {
        /// The work directory.
        work: PathBuf,
        /// The upper directory.
        upper: PathBuf,
    },
    /// Another mount uses the directory.
    #[error(
        "{role} directory {path} is in use by another mount: unmount that first, or give each mount its own"
    )]
    InUse {
        /// What it was to serve as.
        role: &'static str,
        /// The path as given.
        path: PathBuf,
    },
    /// The work directory cannot be used.
    #[error("cannot use the work directory {path}: {errno}")]
    Work {
        /// The path as given.
        path: PathBuf,
        /// The reason.
        errno: Errno,
    },
    /// An option needs what the upper lacks.
    #[error(
        "{option} needs extended attributes, which the upper directory {path} does not have: leave it out, or put the upper elsewhere"
    )]
    NoXattrs {
        /// The option.
        option: &'static str,
        /// The upper directory.
        path: PathBuf,
    },
}
