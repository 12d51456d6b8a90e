//! Applying an upper to the very tree that it was made over, name by name.
//!
//! What takes a name is made beside it, complete and synced, and takes it by one rename; so each file is the old one or
//! the new one whenever the work stops, and doing it again comes to the same end. Nothing is changed before the whole
//! tree was held against the moment when the upper began; a name that was changed since is refused.

mod attributes;
mod build;
pub mod decide;
pub mod error;
mod real;
mod same;
mod walk;

use std::path::{Path, PathBuf};

pub use error::{ApplyError, Conflict, Why};
pub use real::Moment;

/// Whose owners are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Everybody's: by root.
    All,
    /// Nobody's: what is made belongs to who makes it, and what belongs to others stays as it is.
    Own,
}

/// Whether the changes were begun to be applied before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// They were not.
    First,
    /// They were: a directory may be changed in part.
    Repeated,
}

/// What is to be applied, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The upper.
    pub upper: &'a Path,
    /// The tree.
    pub target: &'a Path,
    /// Directories of the tree that are on mounts of their own, by their paths.
    pub mounts: &'a [PathBuf],
    /// What the tree had changed at or after this moment is not known to the upper.
    pub began: Moment,
    /// Part of the names of what is made beside its place; no other file is called so.
    pub token: &'a str,
    /// Whose owners are set.
    pub owners: Owners,
    /// Whether it is tried again.
    pub attempt: Attempt,
    /// A directory of the tree that must stay where it is.
    pub kept_out: &'a Path,
}

/// Says whether `request` can be carried out. Nothing is changed.
///
/// # Errors
/// [`ApplyError::Conflicts`] with all that stands against it.
pub fn check(request: &Request<'_>) -> Result<(), ApplyError> {
    walk::Walk::new(request, walk::Mode::Check)?.run()
}

/// Carries it out, after [`check`] found nothing against it. Each name is looked at once more right before it is changed.
///
/// # Errors
/// [`ApplyError::Conflicts`] with the first, and what the system says; the names before that are changed then, the
/// others are not.
pub fn apply(request: &Request<'_>) -> Result<(), ApplyError> {
    walk::Walk::new(request, walk::Mode::Carry)?.run()
}
