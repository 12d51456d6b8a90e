//! Whether the tree has a file as the upper has it: applied before, or never changed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use super::Owners;
use super::attributes::{is_modified_at, is_owned_so, xattrs};
use super::error::ApplyError;
use super::real::RealDir;
use crate::layer::node::{Entry, Kind, kind_of};
use crate::layer::source::{Dir, Located};
use crate::sys::dir::read_all;
use crate::sys::fs::{self, Mode, OFlags, Stat, readlinkat};
use crate::sys::xattr::Target;

/// Whether `name` in `real`, read as `stat`, is like `ours` in everything that is carried over, a directory with all
/// that is in it.
///
/// # Errors
/// One of the two cannot be read.
pub fn is_same(
    ours: &Located,
    real: &RealDir,
    name: &OsStr,
    stat: &Stat,
    owners: Owners,
) -> Result<bool, ApplyError> {
    let node = &ours.node;
    let link = node.kind == Kind::Symlink;
    if kind_of(stat) != node.kind || !is_modified_at(stat, node.mtime) {
        return Ok(false);
    }
    if !link && !is_owned_so(node, stat, owners) {
        return Ok(false);
    }
    let theirs = xattrs(Target::At(real.fd(), name), owners).map_err(|e| real.failed(name, "read", e))?;
    let mine = xattrs(Target::At(ours.dir.fd(), &ours.name), owners);
    if mine.map_err(|e| ApplyError::System { path: ours.path(), action: "read", source: e })? != theirs {
        return Ok(false);
    }
    match node.kind {
        Kind::File => has_same_content(ours, real, name, stat),
        Kind::Symlink => {
            let target = readlinkat(real.fd(), name, Vec::new()).map_err(|e| real.failed(name, "read", e))?;
            Ok(ours.link_target()? == target.into_bytes())
        }
        Kind::Dir => has_same_names(&ours.dir.open_dir(&ours.name, node)?.into(), real, name, owners),
        _ => Ok(true),
    }
}

#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between machines")]
fn has_same_content(ours: &Located, real: &RealDir, name: &OsStr, stat: &Stat) -> Result<bool, ApplyError> {
    if ours.node.size != stat.st_size as u64 {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let theirs = fs::openat(real.fd(), name, flags, Mode::empty());
    let mut theirs = File::from(theirs.map_err(|e| real.failed(name, "open", e))?);
    let (mut mine, _) = ours.dir.open_file(&ours.name)?;
    let (mut a, mut b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = mine.read(&mut a).map_err(|e| ours.read_error(&e))?;
        if length == 0 {
            return Ok(true);
        }
        if theirs.read_exact(&mut b[..length]).is_err() || a[..length] != b[..length] {
            return Ok(false);
        }
    }
}

fn has_same_names(
    ours: &std::rc::Rc<Dir>,
    real: &RealDir,
    name: &OsStr,
    owners: Owners,
) -> Result<bool, ApplyError> {
    let Ok(dir) = real.open(name, &[])? else { return Ok(false) };
    let listed = read_all(dir.fd().as_fd()).map_err(|e| real.failed(name, "list", e))?;
    let mut theirs: Vec<OsString> = listed.into_iter().map(|entry| entry.name).collect();
    theirs.sort();
    let mine: Vec<Located> = children(ours)?;
    if theirs.iter().ne(mine.iter().map(|child| &child.name)) {
        return Ok(false);
    }
    for child in mine {
        let Some(stat) = dir.stat(&child.name)? else { return Ok(false) };
        if !is_same(&child, &dir, &child.name, &stat, owners)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files of a directory that is complete, in byte order; sockets, which mean nothing without their programs, are
/// left out.
pub fn children(dir: &std::rc::Rc<Dir>) -> Result<Vec<Located>, ApplyError> {
    let located = |(name, entry)| match entry {
        Entry::Node(node) if node.kind != Kind::Socket => Some(Located { dir: dir.clone(), name, node }),
        _ => None,
    };
    Ok(dir.list()?.into_iter().filter_map(located).collect())
}
