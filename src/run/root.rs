//! Files below a container's mounted root, before anything runs in it. The image may be hostile: every path is
//! resolved as the container would, within the root (`RESOLVE_IN_ROOT`), so no link leads out.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::error::RunError;
use crate::sys::Errno;
use crate::sys::fs::{
    FileType, Mode, O_DIRPATH, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, reopen,
};

/// How often a resolution is tried that a change elsewhere disturbed (`EAGAIN`).
const TRIES: usize = 32;

/// A container's root directory.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// Whether something was made or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    New,
    /// It was there.
    Before,
}

impl Root {
    /// The root at `path` on this machine.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Root, RunError> {
        let fd = openat(crate::sys::fs::CWD, path, O_DIRPATH, Mode::empty());
        let fd = fd.map_err(io::Error::from).map_err(RunError::system("open", path))?;
        Ok(Root { fd })
    }

    /// The content of a regular file of at most `limit` bytes; `None` where there is none.
    ///
    /// # Errors
    /// [`RunError::Unusable`] for what is no regular file or too long; what the system says.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, RunError> {
        let failed = |source: Errno| in_root("read", path, source);
        // Only the path at first: opening a device or a FIFO of the image could do things.
        let fd = match self.resolve(path, OFlags::PATH | OFlags::CLOEXEC) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(failed)?,
        };
        let stat = fstat(&fd).map_err(failed)?;
        let unusable = |fault| RunError::Unusable { path: path.to_owned(), fault };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(unusable("is no regular file"));
        }
        let file = File::from(reopen(fd.as_fd(), OFlags::RDONLY).map_err(failed)?);
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| RunError::InRoot { action: "read", path: path.to_owned(), source })?;
        if bytes.len() as u64 > limit {
            return Err(unusable("is too long"));
        }
        Ok(Some(bytes))
    }

    /// Makes the directory `path`, and those above it, where they are missing; owned by the caller, of mode 0755.
    ///
    /// # Errors
    /// Something else is in the way: a file, or a link that leads nowhere.
    pub fn make_dir(&self, path: &Path) -> Result<Made, RunError> {
        let mut at = PathBuf::from("/");
        let mut made = Made::Before;
        for name in names(path) {
            let above = self.directory(&at)?;
            at.push(name);
            match self.resolve(&at, O_DIRPATH - OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => {
                    mkdirat(&above, name, Mode::from_raw_mode(0o755)).map_err(|e| in_root("make", &at, e))?;
                    made = Made::New;
                }
                Err(e) => return Err(in_root("make", &at, e)),
                Ok(_) => made = Made::Before,
            }
        }
        Ok(made)
    }

    /// Makes the empty file `path`, and the directories above it, where nothing is there.
    ///
    /// # Errors
    /// As [`Root::make_dir`].
    pub fn make_file(&self, path: &Path) -> Result<Made, RunError> {
        let path = cleaned(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Made::Before) };
        match self.resolve(&path, OFlags::PATH | OFlags::CLOEXEC) {
            Err(Errno::NOENT) => {}
            other => return other.map(|_| Made::Before).map_err(|e| in_root("make", &path, e)),
        }
        self.make_dir(parent)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.directory(parent)?, name, flags, Mode::from_raw_mode(0o644));
        file.map(|_| Made::New).map_err(|e| in_root("make", &path, e))
    }

    /// The directory `path`, for reaching names in it.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn directory(&self, path: &Path) -> Result<OwnedFd, RunError> {
        self.resolve(path, O_DIRPATH - OFlags::NOFOLLOW).map_err(|e| in_root("open", path, e))
    }

    fn resolve(&self, path: impl AsRef<Path>, flags: OFlags) -> crate::sys::Result<OwnedFd> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match openat2(&self.fd, path.as_ref(), flags, Mode::empty(), how) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

fn in_root(action: &'static str, path: impl AsRef<Path>, source: Errno) -> RunError {
    RunError::InRoot { action, path: path.as_ref().display().to_string(), source: source.into() }
}

/// The names of a path, with `..` resolved by the words alone, as docker does.
fn names(path: &Path) -> Vec<&OsStr> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}

/// A path as an absolute one without `.` and `..`.
pub fn cleaned(path: &Path) -> PathBuf {
    Path::new("/").join(names(path).iter().collect::<PathBuf>())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// `root/` in a directory with a canary beside it.
    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("root")).expect("made");
        fs::write(dir.path().join("canary"), "canary").expect("written");
        let root = Root::open(&dir.path().join("root")).expect("opened");
        (dir, root)
    }

    #[test]
    fn no_link_leads_out() {
        let (dir, root) = scratch();
        let inside = |name: &str| dir.path().join("root").join(name);
        symlink("../../../../../canary", inside("up")).expect("linked");
        symlink(dir.path(), inside("abs")).expect("linked");
        symlink("..", inside("parent")).expect("linked");
        symlink("loop", inside("loop")).expect("linked");
        symlink("/proc/self/root", inside("magic")).expect("linked");
        assert_eq!(root.read("/up", 10).expect("resolved inside"), None);
        assert_eq!(root.read("/abs/canary", 10).expect("resolved inside"), None);
        assert!(root.read("/loop", 10).is_err());
        assert_eq!(root.read("/magic/etc/hostname", 1000).expect("resolved inside"), None);
        // `..` of the root is the root.
        assert_eq!(root.make_dir(Path::new("/parent/made/below")).expect("made"), Made::New);
        assert!(inside("made/below").is_dir());
        assert!(root.make_dir(Path::new("/abs/new")).is_err(), "a link that leads nowhere in the image");
        assert!(root.make_dir(Path::new("/loop/new")).is_err());
        assert!(root.make_file(Path::new("/up")).is_err());
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).expect("read").map(|e| e.expect("read").file_name()).collect();
        left.sort();
        assert_eq!(left, ["canary", "root"]);
        assert_eq!(fs::read_to_string(dir.path().join("canary")).expect("read"), "canary");
    }

    #[test]
    fn only_regular_files_of_fair_length_are_read() {
        let (dir, root) = scratch();
        let inside = |name: &str| dir.path().join("root").join(name);
        fs::write(inside("ten"), "0123456789").expect("written");
        fs::create_dir(inside("dir")).expect("made");
        let fifo = std::process::Command::new("mkfifo").arg(inside("fifo")).status().expect("run");
        assert!(fifo.success());
        assert_eq!(root.read("/ten", 10).expect("read").as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(root.read("/none", 10).expect("read"), None);
        assert_eq!(root.read("/ten/below", 10).expect("read"), None);
        for bad in [root.read("/ten", 9), root.read("/dir", 9), root.read("/fifo", 9)] {
            assert!(matches!(bad, Err(RunError::Unusable { .. })), "{bad:?}");
        }
    }

    #[test]
    fn what_is_missing_is_made_once() {
        let (dir, root) = scratch();
        let inside = |name: &str| dir.path().join("root").join(name);
        assert_eq!(root.make_dir(Path::new("a/../b/./c")).expect("made"), Made::New);
        assert_eq!(root.make_dir(Path::new("/b/c/")).expect("there"), Made::Before);
        assert!(inside("b/c").is_dir() && !inside("a").exists());
        assert_eq!(root.make_file(Path::new("/b/f")).expect("made"), Made::New);
        assert_eq!(root.make_file(Path::new("/b/f")).expect("there"), Made::Before);
        assert!(root.make_dir(Path::new("/b/f/x")).is_err() && root.make_dir(Path::new("/b/f")).is_err());
        assert_eq!(root.make_dir(Path::new("/")).expect("there"), Made::Before);
        assert_eq!(root.make_dir(Path::new("/../..")).expect("there"), Made::Before);
        assert_eq!(cleaned(Path::new("../x/../y")), Path::new("/y"));
    }
}
