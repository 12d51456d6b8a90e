//! Making, renaming and removing files. Each process has a directory `made-PART` of its own.

use std::ffi::CString;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::write;

use crate::share::{self, Share};
use crate::{Measured, timed};

/// What one process makes into.
fn directory(part: u64) -> String {
    format!("made-{part}")
}

fn numbered(directory: &str, kind: &str, count: u64) -> Result<Vec<CString>> {
    let names = (0..count).map(|n| CString::new(format!("{directory}/{kind}-{n}")));
    names.collect::<Result<_, _>>().context("forming names")
}

/// Makes `count` files of 4 KiB (all processes together): open, write, close.
pub fn create(count: u64, share: Option<Share>) -> Result<Measured> {
    let (part, of) = share.as_ref().map_or((0, 1), |share| (share.part, share.of));
    let directory = directory(part);
    mkdirat(CWD, &directory, Mode::from_raw_mode(0o755)).with_context(|| format!("making {directory}"))?;
    let names = numbered(&directory, "file", count / of)?;
    let data = vec![b'c'; 4096];
    share::timed(share, || {
        for name in &names {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(CWD, name, flags, Mode::from_raw_mode(0o644))
                .with_context(|| format!("making {name:?}"))?;
            if write(&file, &data).with_context(|| format!("writing {name:?}"))? != data.len() {
                bail!("a short write to {name:?}");
            }
        }
        Ok(names.len() as u64)
    })
}

/// Renames what `create` made, within the directory.
pub fn rename(count: u64) -> Result<Measured> {
    let (from, to) = (numbered(&directory(0), "file", count)?, numbered(&directory(0), "renamed", count)?);
    timed(|| {
        for (from, to) in from.iter().zip(&to) {
            renameat(CWD, from, CWD, to).with_context(|| format!("renaming {from:?}"))?;
        }
        Ok(count)
    })
}

/// Removes what `rename` left.
pub fn unlink(count: u64) -> Result<Measured> {
    let names = numbered(&directory(0), "renamed", count)?;
    timed(|| {
        for name in &names {
            unlinkat(CWD, name, AtFlags::empty()).with_context(|| format!("removing {name:?}"))?;
        }
        Ok(count)
    })
}
