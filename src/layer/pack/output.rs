//! Where a tar goes: through a digest, and into a file that appears only when it is complete.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::layer::LayerError;
use crate::oci::digest::{Digest, Digester};

/// A writer that digests and counts what it passes on.
pub struct Digesting<W: Write> {
    inner: BufWriter<W>,
    digester: Digester,
    size: u64,
}

impl<W: Write> Digesting<W> {
    /// A writer to `inner`, which has not been written to yet.
    pub fn new(inner: W) -> Digesting<W> {
        Digesting { inner: BufWriter::new(inner), digester: Digester::new(), size: 0 }
    }

    /// Passes on all of `bytes`.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.digester.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Passes on what is left; returns the digest and the number of bytes.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        self.inner.flush()?;
        Ok((self.digester.finish(), self.size))
    }
}

/// A file under a temporary name, removed unless it is published.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Temporary,
    Published,
}

impl Pending {
    /// Begins a file that is to be called `path`.
    ///
    /// # Errors
    /// [`LayerError::Output`], also where `path` has no file name.
    pub fn create(path: &Path) -> Result<Pending, LayerError> {
        let error = |source| LayerError::Output { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| error(io::ErrorKind::InvalidFilename.into()))?;
        if path.is_dir() {
            return Err(error(io::ErrorKind::IsADirectory.into()));
        }
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(error)?;
        Ok(Pending { path: path.to_owned(), temporary, file, state: State::Temporary })
    }

    /// The file, for writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its name, once its content is on disk. Atomic.
    ///
    /// # Errors
    /// [`LayerError::Output`]; the name is unchanged then.
    pub fn publish(mut self) -> Result<(), LayerError> {
        self.rename().map_err(|source| LayerError::Output { path: self.path.clone(), source })
    }

    fn rename(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.state = State::Published;
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.state == State::Temporary
            && let Err(e) = fs::remove_file(&self.temporary)
        {
            log::warn!("cannot remove {}: {e}", self.temporary.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        let mut out = Vec::new();
        let mut digesting = Digesting::new(&mut out);
        digesting.write_all(b"ab").expect("memory");
        digesting.write_all(b"c").expect("memory");
        assert_eq!(digesting.finish().expect("memory"), (Digest::of(b"abc"), 3));
        assert_eq!(out, b"abc");
    }

    #[test]
    fn a_file_appears_only_when_published() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("layer.tar");
        let mut pending = Pending::create(&path).expect("created");
        pending.file().write_all(b"x").expect("written");
        assert!(!path.exists());
        drop(pending);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
        let mut pending = Pending::create(&path).expect("created");
        pending.file().write_all(b"y").expect("written");
        pending.publish().expect("published");
        assert_eq!(fs::read(&path).expect("there"), b"y");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_directory_is_no_place_for_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(Pending::create(dir.path()).is_err());
    }
}
