//! What was changed in a sandbox.

use std::ffi::OsStr;
use std::fs::symlink_metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use plyfs::layer::diff::{Change, ChangeKind, diff_of_machine};
use plyfs::run::sandbox::Sandbox;
use plyfs::run::{Instance, rootless};

/// The changes, sorted by path. An ordinary user's files are read as in the sandbox: this process becomes root of a
/// user namespace.
///
/// # Errors
/// A file cannot be read.
pub fn of(instance: &Instance) -> anyhow::Result<Vec<Change>> {
    rootless::become_root()?;
    let Some(union) = instance.unions().into_iter().next() else { return Ok(Vec::new()) };
    let changes = diff_of_machine(&union.upper, &union.path)?;
    let parts = Sandbox::of(&instance.container.extra).unwrap_or_default().parts;
    let mut shown: Vec<Change> = Vec::new();
    // From the end, so that what is below a directory was judged before it.
    for change in changes.into_iter().rev() {
        let path = path(&change);
        let for_parts = parts.iter().any(|part| part.starts_with(&path));
        let nothing = match change.kind {
            ChangeKind::Changed if for_parts => is_dressed_alike(&union.upper, &path),
            ChangeKind::Changed => is_another_users(&path),
            ChangeKind::Added => for_parts,
            ChangeKind::Deleted => false,
        };
        // Few come to the second question, which goes through all.
        if !nothing || holds_others(&change, &shown) {
            shown.push(change);
        }
    }
    shown.reverse();
    Ok(shown)
}

/// Whether one of `others` lies below.
fn holds_others(change: &Change, others: &[Change]) -> bool {
    let below = [&change.path[..], b"/"].concat();
    others.iter().any(|other| other.path.starts_with(&below))
}

fn path(change: &Change) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&change.path))
}

/// Whether a directory that was made to hold the upper of a mount is as the machine's own, whose time goes on.
fn is_dressed_alike(upper: &Path, path: &Path) -> bool {
    let copy = upper.join(path.strip_prefix("/").unwrap_or(path));
    match (symlink_metadata(copy), symlink_metadata(path)) {
        (Ok(copy), Ok(real)) => {
            (copy.mode(), copy.uid(), copy.gid()) == (real.mode(), real.uid(), real.gid()) || !is_own(&real)
        }
        _ => false,
    }
}

/// Whether it is a directory that this user cannot change anyway: an owner that the sandbox cannot show is no change.
fn is_another_users(path: &Path) -> bool {
    symlink_metadata(path).is_ok_and(|real| real.is_dir() && !is_own(&real))
}

fn is_own(real: &std::fs::Metadata) -> bool {
    // In a user namespace of one's own every other user is shown as nobody; to root all is their own.
    rootless::Rights::own() == rootless::Rights::Machine || real.uid() == 0
}
