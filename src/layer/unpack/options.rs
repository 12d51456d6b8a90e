//! The choices of an unpacking: how much a layer may hold, and what becomes of owners.

use crate::sys::fs::geteuid;
use crate::sys::process::in_initial_user_namespace;

/// What is unpacked, and how far it is trusted.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// How much the layer may hold.
    pub limits: Limits,
    /// Where owners, modes and types go.
    pub ownership: Ownership,
}

impl Default for UnpackOptions {
    /// The default limits, and the ownership for this process.
    fn default() -> UnpackOptions {
        UnpackOptions { limits: Limits::default(), ownership: Ownership::for_this_process() }
    }
}

/// How much a layer may hold. What goes beyond is an error before any memory or disk is spent on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The number of entries, extension headers not counted; also that of directories, listed or not.
    pub entries: u64,
    /// The length of the whole tar stream in bytes.
    pub total_bytes: u64,
    /// The length of one file in bytes.
    pub file_bytes: u64,
    /// The length of an entry's path, and of a link's target, in bytes.
    pub path_bytes: usize,
    /// The number of components of an entry's path, below directories that links of lower layers lead to too.
    pub depth: usize,
    /// The length of one entry's extended attributes, names and values, in bytes.
    pub xattr_bytes: usize,
    /// The length of one extension header (PAX records or a GNU long name) in bytes.
    pub pax_bytes: u64,
}

impl Default for Limits {
    /// Limits that real images stay far below.
    fn default() -> Limits {
        Limits {
            entries: 4_000_000,
            total_bytes: 64 << 30,
            file_bytes: 64 << 30,
            path_bytes: 4095,
            depth: 512,
            xattr_bytes: 1 << 20,
            pax_bytes: 4 << 20,
        }
    }
}

/// Where the owner, mode and type of a file go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Into the inode itself. Opaque marks are `trusted.overlay.opaque`.
    Real,
    /// Into the attribute `user.containers.override_stat`; the inode belongs to the user who unpacks, who can
    /// read and write it. Devices and FIFOs, and symbolic links that are not root's, which can bear no attribute,
    /// become regular files that stand in for them. Opaque marks are `user.overlay.opaque`.
    Recorded,
}

impl Ownership {
    /// [`Ownership::Real`] for root, [`Ownership::Recorded`] for anyone else: also for root of a user namespace, so
    /// that what an ordinary user keeps has one form inside and outside of it.
    pub fn for_this_process() -> Ownership {
        let is_root = geteuid().is_root() && in_initial_user_namespace();
        if is_root { Ownership::Real } else { Ownership::Recorded }
    }
}
