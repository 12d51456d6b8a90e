//! Whole trees in the store: removing them and measuring them, however deep, wide or locked up they are. No link is
//! followed, and the file system is never left.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};

use super::dir::{Dir, random_name};
use super::{Result, StoreError};
use crate::sys::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use crate::sys::{Errno, dir, fs};

/// How many entries of a directory are read before they are removed.
const BATCH: usize = if cfg!(test) { 64 } else { 8192 };
const OWNER_ALL: Mode = Mode::RWXU;

/// Removes `name` in `tmp` with all below it; returns the bytes that this gives back. What is not there is fine.
///
/// Directories are moved up into `tmp` as they are met, so that depth costs neither descriptors nor memory, and a
/// removal that is cut off leaves nothing outside `tmp`. What cannot be removed is left, the rest is removed.
///
/// # Errors
/// The first failure.
pub(super) fn remove(tmp: &Dir, name: &OsStr) -> Result<u64> {
    match tmp.stat(name)? {
        None => Ok(0),
        Some(stat) if is_dir(&stat) => {
            let removal = Removal { tmp, queue: vec![name.to_owned()], count: 0, bytes: 0, failed: None };
            removal.run(&random_name("gone")?)
        }
        Some(stat) => {
            tmp.unlink(name)?;
            Ok(given_back(&stat))
        }
    }
}

/// The removal of one tree.
struct Removal<'a> {
    tmp: &'a Dir,
    /// Names in `tmp` of directories still to be removed.
    queue: Vec<OsString>,
    /// How many directories were moved up.
    count: u64,
    bytes: u64,
    failed: Option<StoreError>,
}

impl Removal<'_> {
    fn run(mut self, prefix: &str) -> Result<u64> {
        while let Some(name) = self.queue.pop() {
            let removed = self.empty(&name, prefix).and_then(|()| self.rmdir(&name));
            self.note(removed);
        }
        self.failed.map_or(Ok(self.bytes), Err)
    }

    /// Removes the files of one directory and moves its directories up.
    fn empty(&mut self, name: &OsStr, prefix: &str) -> Result<()> {
        unlock(self.tmp, name);
        let dir = self.tmp.sub(name)?;
        loop {
            let batch = read_batch(&dir)?;
            let failures = batch.iter().filter(|(name, kind)| !self.take(&dir, name, *kind, prefix)).count();
            if failures == batch.len() {
                return Ok(());
            }
        }
    }

    /// Removes one entry; returns whether it is gone from its directory.
    fn take(&mut self, dir: &Dir, name: &OsStr, kind: FileType, prefix: &str) -> bool {
        let taken = match dir.stat(name) {
            Ok(Some(stat)) if kind == FileType::Directory || is_dir(&stat) => self.move_up(dir, name, prefix),
            Ok(Some(stat)) => {
                self.bytes = self.bytes.saturating_add(given_back(&stat));
                dir.unlink(name).map(drop)
            }
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        self.note(taken)
    }

    fn move_up(&mut self, dir: &Dir, name: &OsStr, prefix: &str) -> Result<()> {
        unlock(dir, name);
        let to = OsString::from(format!("{prefix}.{}", self.count));
        self.count += 1;
        dir.rename(name, self.tmp, &to)?;
        self.queue.push(to);
        Ok(())
    }

    fn rmdir(&self, name: &OsStr) -> Result<()> {
        fs::unlinkat(self.tmp.fd(), name, AtFlags::REMOVEDIR)
            .map_err(StoreError::system("remove", self.tmp.path().join(name)))
    }

    /// Keeps the first failure; returns whether there was none now.
    fn note(&mut self, result: Result<()>) -> bool {
        let failed = result.err();
        let good = failed.is_none();
        self.failed = self.failed.take().or(failed);
        good
    }
}

/// Lets the owner list and change a directory. Where that fails, what comes next says why.
fn unlock(dir: &Dir, name: &OsStr) {
    if let Err(e) = fs::lchmodat(dir.fd(), name, OWNER_ALL) {
        log::debug!("chmod {}: {e}", dir.path().join(name).display());
    }
}

/// The first entries of a directory, with their types.
fn read_batch(dir: &Dir) -> Result<Vec<(OsString, FileType)>> {
    let mut batch = Vec::new();
    dir::read_from(dir.fd(), 0, |name, _, kind, _| {
        batch.push((name.to_owned(), kind));
        batch.len() < BATCH
    })
    .map_err(StoreError::system("list", dir.path()))?;
    Ok(batch)
}

/// Renames a directory to another place, also one whose mode denies its owner to do so (its `..` changes).
pub(super) fn rename_dir(from: &Dir, name: &str, to: &Dir, to_name: &str) -> Result<()> {
    let rename = || fs::renameat_with(from.fd(), name, to.fd(), to_name, RenameFlags::empty());
    let error = || StoreError::system("publish", to.path().join(to_name));
    match rename() {
        Err(Errno::ACCESS) => {
            let fd = fs::open_dir_path(from.fd(), name.as_ref()).map_err(error())?;
            let mode = Mode::from_raw_mode(fs::fstat(&fd).map_err(error())?.st_mode);
            fs::chmod_fd(fd.as_fd(), mode | OWNER_ALL).map_err(error())?;
            rename().map_err(error())?;
            fs::chmod_fd(fd.as_fd(), mode).map_err(error())
        }
        other => other.map_err(error()),
    }
}

/// The bytes that a tree's files take on disk, those with several links once. What this user may not look into is
/// left out, and so is what lies on another file system.
pub(super) fn size(root: Dir) -> Result<u64> {
    let failed = |action| StoreError::system(action, root.path());
    let device = root.own_stat()?.st_dev;
    let mut seen = HashSet::new();
    let mut at: OwnedFd = dir::open_listing(root.fd()).map_err(failed("open"))?;
    let (mut bytes, first) = measure(&at, device, &mut seen).map_err(failed("list"))?;
    // One descriptor, up again by `..`: depth costs none.
    let mut pending = vec![first];
    while let Some(names) = pending.last_mut() {
        let Some(name) = names.pop() else {
            pending.pop();
            let up = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            if !pending.is_empty() {
                at = fs::openat(&at, "..", up, Mode::empty()).map_err(failed("open"))?;
            }
            continue;
        };
        let down = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat2(&at, &name, down, Mode::empty(), fs::BENEATH) {
            Ok(fd) => {
                at = fd;
                let (more, names) = measure(&at, device, &mut seen).map_err(failed("list"))?;
                bytes = bytes.saturating_add(more);
                pending.push(names);
            }
            Err(Errno::ACCESS | Errno::NOENT | Errno::XDEV) => {}
            Err(e) => return Err(failed("open")(e)),
        }
    }
    Ok(bytes)
}

/// The bytes of the files in one directory, and its directories.
fn measure(at: &OwnedFd, device: u64, seen: &mut HashSet<u64>) -> crate::sys::Result<(u64, Vec<OsString>)> {
    let (mut bytes, mut directories) = (0u64, Vec::new());
    for entry in dir::read_all(at.as_fd())? {
        let stat = match fs::lstatat(at, &entry.name) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::ACCESS) => continue,
            Err(e) => return Err(e),
        };
        if stat.st_dev != device {
            continue;
        }
        if is_dir(&stat) {
            directories.push(entry.name);
        } else if stat.st_nlink <= 1 || seen.insert(stat.st_ino) {
            bytes = bytes.saturating_add(on_disk(&stat));
        }
    }
    Ok((bytes, directories))
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The bytes that a file takes.
fn on_disk(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// The bytes that removing this name of a file gives back.
fn given_back(stat: &Stat) -> u64 {
    if stat.st_nlink <= 1 { on_disk(stat) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> Dir {
        Dir::open(path, path.to_owned()).expect("a directory")
    }

    #[test]
    fn locked_directories_and_links_are_removed_and_nothing_else() {
        let tmp = tempfile::tempdir().expect("tmp");
        let outside = tempfile::tempdir().expect("tmp");
        std::fs::write(outside.path().join("kept"), "x").expect("write");
        let deep = tmp.path().join("t/a/b");
        std::fs::create_dir_all(&deep).expect("mkdir");
        std::fs::write(deep.join("f"), vec![1; 8192]).expect("write");
        symlink(outside.path(), deep.join("link")).expect("symlink");
        for dir in ["t/a/b", "t/a"] {
            let none = std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(tmp.path().join(dir), none).expect("chmod");
        }
        assert!(remove(&open(tmp.path()), "t".as_ref()).expect("removed") >= 8192);
        assert_eq!(std::fs::read_dir(tmp.path()).expect("list").count(), 0);
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn depth_is_no_limit() {
        let tmp = tempfile::tempdir().expect("tmp");
        let root = open(tmp.path()).make("t", 0o755).expect("mkdir");
        let (mut at, mut made) = (root, 0);
        while made < 1200 {
            at = at.make("directory", 0o755).expect("mkdir");
            made += 1;
        }
        at.create_with("f", &[1; 5000]).expect("write");
        assert!(size(open(tmp.path())).expect("size") >= 5000);
        remove(&open(tmp.path()), "t".as_ref()).expect("removed");
        assert_eq!(std::fs::read_dir(tmp.path()).expect("list").count(), 0);
    }

    #[test]
    fn wide_directories_are_removed_in_batches() {
        let tmp = tempfile::tempdir().expect("tmp");
        let root = open(tmp.path()).make("t", 0o755).expect("mkdir");
        for n in 0..BATCH + 10 {
            root.make(format!("d{n}"), 0o500).expect("mkdir");
        }
        remove(&open(tmp.path()), "t".as_ref()).expect("removed");
        assert_eq!(std::fs::read_dir(tmp.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_file_with_several_links_counts_once() {
        let tmp = tempfile::tempdir().expect("tmp");
        std::fs::write(tmp.path().join("a"), vec![1; 100_000]).expect("write");
        std::fs::hard_link(tmp.path().join("a"), tmp.path().join("b")).expect("link");
        let bytes = size(open(tmp.path())).expect("size");
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_is_not_there_is_removed() {
        let tmp = tempfile::tempdir().expect("tmp");
        assert_eq!(remove(&open(tmp.path()), "t".as_ref()).expect("fine"), 0);
    }
}
