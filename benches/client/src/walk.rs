//! Listing trees as find(1) and rm(1) do: each directory read to its end with getdents in pieces of 32 KiB, then its
//! entries one by one.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat, unlinkat};

/// Whether a walk also asks for the attributes of each entry.
#[derive(Clone, Copy)]
pub enum Stat {
    /// As `find -size`.
    Each,
    /// As `ls -R`, which needs the kinds only that the listing tells.
    None,
}

/// Walks the tree below the current directory; returns how many entries it has.
pub fn walk(stat: Stat) -> Result<u64> {
    below(open(CWD, c".")?, stat)
}

fn below(dir: OwnedFd, stat: Stat) -> Result<u64> {
    let entries = entries(&dir)?;
    let mut count = 0;
    for (name, kind) in &entries {
        count += 1;
        if let Stat::Each = stat {
            statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).with_context(|| format!("stat {name:?}"))?;
        }
        if *kind == FileType::Directory {
            count += below(open(&dir, name)?, stat)?;
        }
    }
    Ok(count)
}

/// Removes every file of the current directory; returns how many there were.
pub fn empty() -> Result<u64> {
    let dir = open(CWD, c".")?;
    let entries = entries(&dir)?;
    for (name, _) in &entries {
        unlinkat(&dir, name, AtFlags::empty()).with_context(|| format!("removing {name:?}"))?;
    }
    Ok(entries.len() as u64)
}

fn open(dir: impl AsFd, name: &std::ffi::CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).with_context(|| format!("opening {name:?}"))
}

fn entries(dir: &OwnedFd) -> Result<Vec<(CString, FileType)>> {
    let mut buffer = [const { MaybeUninit::uninit() }; 32 << 10];
    let mut listing = RawDir::new(dir, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry.context("listing a directory")?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}
