//! Taking two locks of a kind without waiting in a circle.

use parking_lot::{Mutex, MutexGuard};

use super::error::Result;
use super::inode::Inode;

/// The guards of one or two mutexes.
pub type Pair<'a> = [Option<MutexGuard<'a, ()>>; 2];

/// Locks two mutexes in the order of their addresses, one only once.
pub fn lock_pair<'a>(one: &'a Mutex<()>, other: Option<&'a Mutex<()>>) -> Pair<'a> {
    let Some(other) = other.filter(|other| !std::ptr::eq(*other, one)) else {
        return [Some(one.lock()), None];
    };
    let in_order = std::ptr::from_ref(one) < std::ptr::from_ref(other);
    let (first, second) = if in_order { (one, other) } else { (other, one) };
    [Some(first.lock()), Some(second.lock())]
}

/// Locks the `ops` of two inodes in the same way.
///
/// # Errors
/// As [`Inode::lock_ops`].
pub fn lock_ops_pair<'a>(one: &'a Inode, other: Option<&'a Inode>) -> Result<Pair<'a>> {
    let Some(other) = other.filter(|other| !std::ptr::eq(*other, one)) else {
        return Ok([Some(one.lock_ops()?), None]);
    };
    let in_order = std::ptr::from_ref(one) < std::ptr::from_ref(other);
    let (first, second) = if in_order { (one, other) } else { (other, one) };
    Ok([Some(first.lock_ops()?), Some(second.lock_ops()?)])
}
