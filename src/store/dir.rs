//! A directory of the store: an open descriptor, and its path for messages. Every file is reached by one name below
//! one of these, never through a symbolic link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JSON_LIMIT, Result, StoreError};
use crate::sys::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use crate::sys::inherited::make_plain;
use crate::sys::{Errno, dir, fs, random};

/// The mode of the files and directories of a store; its root is 0700 anyway.
const FILE_MODE: u32 = 0o644;

/// An open directory.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens `path` as it is given, following links; messages call it `shown`.
    pub(super) fn open(path: &Path, shown: PathBuf) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            fs::openat(fs::CWD, path, flags, Mode::empty()).map_err(StoreError::system("open", &shown))?;
        Ok(Dir { fd, path: shown })
    }

    /// Opens the directory `name` below this one, on the same file system.
    pub(super) fn sub(&self, name: impl AsRef<OsStr>) -> Result<Dir> {
        let name = name.as_ref();
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match fs::openat2(&self.fd, name, flags, Mode::empty(), fs::BENEATH) {
            // What is moved away while it is opened counts as outside for the kernel.
            Err(Errno::XDEV) if self.stat(name)?.is_none() => Err(Errno::NOENT),
            other => other,
        };
        Ok(Dir { fd: opened.map_err(StoreError::system("open", &path))?, path })
    }

    /// As [`Dir::sub`]; `None` where there is no such name.
    pub(super) fn sub_if_there(&self, name: impl AsRef<OsStr>) -> Result<Option<Dir>> {
        absent_is_none(self.sub(name))
    }

    /// Makes the directory `name` below this one, where there is none, and opens it.
    pub(super) fn ensure(&self, name: &str) -> Result<Dir> {
        match fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                let made = self.sub(name)?;
                let plain = make_plain(&made.fd, Mode::from_raw_mode(0o700));
                plain.map_err(StoreError::system("set the mode of", self.path.join(name)))?;
                Ok(made)
            }
            Err(Errno::EXIST) => self.sub(name),
            Err(e) => Err(StoreError::system("make directory", self.path.join(name))(e)),
        }
    }

    /// Makes the directory `name` of exactly this mode, whatever the umask, and without ACLs.
    pub(super) fn make(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Dir> {
        let name = name.as_ref();
        let error = || StoreError::system("make directory", self.path.join(name));
        fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)).map_err(error())?;
        let made = self.sub(name)?;
        make_plain(&made.fd, Mode::from_raw_mode(mode)).map_err(error())?;
        Ok(made)
    }

    /// The path, for messages and for those who need one.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What `name` is; `None` where there is nothing.
    pub(super) fn stat(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>> {
        let name = name.as_ref();
        match fs::lstatat(&self.fd, name) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(StoreError::system("examine", self.path.join(name))(e)),
        }
    }

    /// What this directory itself is.
    pub(super) fn own_stat(&self) -> Result<Stat> {
        fs::fstat(&self.fd).map_err(StoreError::system("examine", &self.path))
    }

    /// The names in the directory, sorted.
    pub(super) fn names(&self) -> Result<Vec<OsString>> {
        let entries = dir::read_all(self.fd()).map_err(StoreError::system("list", &self.path))?;
        let mut names: Vec<OsString> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }

    /// Opens a regular file for reading; `None` where there is no such name.
    pub(super) fn open_file(&self, name: impl AsRef<OsStr>) -> Result<Option<(File, u64)>> {
        let name = name.as_ref();
        let path = self.path.join(name);
        // A FIFO in the place of the file must not make the opening wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Err(StoreError::NotRegular { path }),
            Err(e) => return Err(StoreError::system("open", path)(e)),
        };
        let stat = fs::fstat(&fd).map_err(StoreError::system("examine", &path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StoreError::NotRegular { path });
        }
        Ok(Some((File::from(fd), u64::try_from(stat.st_size).unwrap_or(0))))
    }

    /// A regular file's bytes, at most `limit`; `None` where there is no such name.
    pub(super) fn read(&self, name: impl AsRef<OsStr>, limit: u64) -> Result<Option<Vec<u8>>> {
        let name = name.as_ref();
        let Some((file, size)) = self.open_file(name)? else { return Ok(None) };
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        if size <= limit {
            let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(StoreError::system("read", &path))?;
        }
        let size = size.max(bytes.len() as u64);
        if size > limit {
            return Err(StoreError::TooLarge { what: path.display().to_string(), size, limit });
        }
        Ok(Some(bytes))
    }

    /// A JSON document; `None` where there is no such name.
    pub(super) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.read(name, JSON_LIMIT)? else { return Ok(None) };
        parse_json(&bytes, || self.path.join(name).display().to_string()).map(Some)
    }

    /// Makes a new file for writing.
    pub(super) fn create(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let name = name.as_ref();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::from_raw_mode(FILE_MODE));
        Ok(File::from(fd.map_err(StoreError::system("make", self.path.join(name)))?))
    }

    /// Makes a new file with these bytes, on disk when this returns.
    pub(super) fn create_with(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> Result<()> {
        let name = name.as_ref();
        let mut file = self.create(name)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(StoreError::system("write", self.path.join(name)))
    }

    /// Renames a name to another, perhaps in another directory, replacing what may be there.
    pub(super) fn rename(&self, from: impl AsRef<OsStr>, to_dir: &Dir, to: impl AsRef<OsStr>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        fs::renameat_with(&self.fd, from, &to_dir.fd, to, RenameFlags::empty())
            .map_err(StoreError::system("publish", to_dir.path.join(to)))
    }

    /// Removes a file; `None` if there is none, else its length.
    pub(super) fn unlink(&self, name: impl AsRef<OsStr>) -> Result<Option<u64>> {
        let name = name.as_ref();
        let Some(stat) = self.stat(name)? else { return Ok(None) };
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(StoreError::system("remove", self.path.join(name))(e)),
        }
    }

    /// Waits until the directory's names are on disk.
    pub(super) fn sync(&self) -> Result<()> {
        fs::fsync(&self.fd).map_err(StoreError::system("write out", &self.path))
    }

    /// Waits until all of the file system is on disk.
    pub(super) fn sync_all(&self) -> Result<()> {
        fs::syncfs(&self.fd).map_err(StoreError::system("write out", &self.path))
    }

    /// Writes `name` anew by way of a file in `tmp`: readers see the old bytes or the new ones.
    pub(super) fn replace(&self, name: &str, bytes: &[u8], tmp: &Dir) -> Result<()> {
        let staged = random_name(name)?;
        let replaced = tmp.create_with(&staged, bytes).and_then(|()| tmp.rename(&staged, self, name));
        if replaced.is_err() {
            // On a full disk what is half written must not stay.
            if let Err(e) = tmp.unlink(&staged) {
                log::debug!("{e}");
            }
            return replaced;
        }
        self.sync()
    }
}

/// Takes a failure for lack of the file as `None`.
pub(super) fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::System { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A name that nothing else has: `KIND-` and random digits.
pub(super) fn random_name(kind: &str) -> Result<String> {
    Ok(format!("{kind}-{}", random_hex::<16>()?))
}

/// `N` random bytes as hexadecimal digits.
pub(super) fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0u8; N];
    random::getrandom(&mut bytes).map_err(|e| StoreError::Random(e.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads a JSON document that messages call `what`.
pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8], what: impl FnOnce() -> String) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Json { what: what(), source })
}

/// Writes a JSON document: the same value gives the same bytes.
pub(super) fn write_json<T: Serialize>(value: &T, what: &str) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| StoreError::Json { what: what.to_owned(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}
