//! Taking two locks of a kind without waiting in a circle: in the order of the inodes' addresses, one only once.

use parking_lot::MutexGuard;

use super::error::Result;
use super::inode::{EntriesGuard, Inode};

/// Locks the `ops` of one or two inodes.
///
/// # Errors
/// As [`Inode::lock_ops`].
pub fn lock_ops_pair<'a>(
    one: &'a Inode,
    other: Option<&'a Inode>,
) -> Result<[Option<MutexGuard<'a, ()>>; 2]> {
    let (first, second) = in_order(one, other);
    Ok([Some(first.lock_ops()?), second.map(Inode::lock_ops).transpose()?])
}

/// Locks the entries of one or two directories.
pub fn lock_entries_pair<'a>(one: &'a Inode, other: Option<&'a Inode>) -> [Option<EntriesGuard<'a>>; 2] {
    let (first, second) = in_order(one, other);
    [Some(first.lock_entries()), second.map(Inode::lock_entries)]
}

fn in_order<'a>(one: &'a Inode, other: Option<&'a Inode>) -> (&'a Inode, Option<&'a Inode>) {
    match other {
        Some(other) if std::ptr::eq(one, other) => (one, None),
        Some(other) if std::ptr::from_ref(other) < std::ptr::from_ref(one) => (other, Some(one)),
        other => (one, other),
    }
}
