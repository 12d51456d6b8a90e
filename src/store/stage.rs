//! What is being prepared in `tmp/`: blobs as they are written, directories to unpack into.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::dir::{Dir, random_name};
use super::layout::{DIFF, Layout};
use super::{Result, StoreError, tree};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Digest, Digester};
use crate::sys::fs::start_writing_out;

/// A name in `tmp/` that is removed, with all below it, unless it is published.
#[derive(Debug)]
pub(super) struct Scrap {
    layout: Arc<Layout>,
    name: String,
}

impl Scrap {
    /// A name for a thing of this kind, not made yet.
    pub(super) fn new(layout: &Arc<Layout>, kind: &str) -> Result<Scrap> {
        Ok(Scrap { layout: Arc::clone(layout), name: random_name(kind)? })
    }

    /// The name in `tmp/`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it the name `to` in `dir`, replacing a file there.
    pub(super) fn publish(&self, dir: &Dir, to: &str) -> Result<()> {
        self.layout.tmp.rename(&self.name, dir, to)
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        if let Err(e) = tree::remove(&self.layout.tmp, self.name.as_ref()) {
            log::warn!("{}: {e}; the next command that writes tries again", self.layout.tmp.path().display());
        }
    }
}

/// Each time that so much of a blob is written it goes on its way to the disk, so that the end need not wait for all of it.
const WRITE_OUT: u64 = 8 << 20;

/// A blob that is being written.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    scrap: Scrap,
    digester: Digester,
    size: u64,
    /// How much is on its way to the disk.
    written_out: u64,
}

impl BlobWriter {
    pub(super) fn new(layout: &Arc<Layout>) -> Result<BlobWriter> {
        let scrap = Scrap::new(layout, "blob")?;
        let file = layout.tmp.create(scrap.name())?;
        Ok(BlobWriter { file, scrap, digester: Digester::new(), size: 0, written_out: 0 })
    }

    /// The blob, complete. It reaches the disk when it is published: of what an archive holds not all may be wanted.
    ///
    /// # Errors
    /// None at present.
    pub fn finish(self) -> Result<StagedBlob> {
        Ok(StagedBlob { digest: self.digester.finish(), size: self.size, scrap: self.scrap })
    }

    /// As [`BlobWriter::finish`], and refuses other bytes than the descriptor's.
    ///
    /// # Errors
    /// [`StoreError::BlobSize`], [`StoreError::BlobDigest`], and what the system says; the bytes are thrown away.
    pub fn finish_expecting(self, descriptor: &Descriptor) -> Result<StagedBlob> {
        let (digest, expected, found) = (descriptor.digest, descriptor.size, self.size);
        if found != expected {
            return Err(StoreError::BlobSize { digest, expected, found });
        }
        let found = self.digester.clone().finish();
        if found != digest {
            return Err(StoreError::BlobDigest { expected: digest, found });
        }
        self.finish()
    }
}

impl BlobWriter {
    fn start_writing_out(&mut self) {
        let (from, length) = (self.written_out, self.size - self.written_out);
        self.written_out = self.size;
        // Both are far below the limit of a file's size.
        if let Err(e) = start_writing_out(self.file.as_fd(), from as i64, length as i64) {
            log::debug!("{} is written out at its end only: {e}", self.scrap.name());
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.digester.update(&buf[..n]);
        self.size += n as u64;
        if self.size - self.written_out >= WRITE_OUT {
            self.start_writing_out();
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blob that is complete and can be published. Dropped, it is removed.
#[derive(Debug)]
pub struct StagedBlob {
    digest: Digest,
    size: u64,
    scrap: Scrap,
}

impl StagedBlob {
    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A descriptor of it.
    pub fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor::new(media_type, self.digest, self.size)
    }

    /// Opens it anew for reading.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> Result<File> {
        let tmp = &self.scrap.layout.tmp;
        let (file, _) =
            tmp.open_file(&self.scrap.name)?.ok_or(StoreError::BlobMissing { digest: self.digest })?;
        Ok(file)
    }

    /// Brings it to disk and moves it to where blobs are, over an older file of the same digest, which might be damaged.
    pub(super) fn publish(&self) -> Result<()> {
        let path = || self.scrap.layout.tmp.path().join(&self.scrap.name);
        self.open()?.sync_all().map_err(StoreError::system("write out", path()))?;
        self.scrap.publish(&self.scrap.layout.blobs, &self.digest.hex())
    }
}

/// A directory to unpack a layer into. Dropped, it is removed with all that is in it.
#[derive(Debug)]
pub struct StagedDir {
    /// What is published as the layer's directory, the layer's files being below [`DIFF`] in it: so what is moved is a
    /// directory of ours, whatever mode the layer's root has.
    outer: Dir,
    diff: Dir,
    scrap: Scrap,
}

impl StagedDir {
    pub(super) fn new(layout: &Arc<Layout>) -> Result<StagedDir> {
        let scrap = Scrap::new(layout, "layer")?;
        let outer = layout.tmp.make(scrap.name(), 0o700)?;
        let diff = outer.make(DIFF, 0o755)?;
        Ok(StagedDir { outer, diff, scrap })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.diff.path()
    }

    /// The directory, open for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.diff.fd()
    }

    /// What holds the layer's directory.
    pub(super) fn outer(&self) -> &Dir {
        &self.outer
    }

    /// Publishes it, with the files put beside it, as `name` in `dir`.
    pub(super) fn publish(&self, dir: &Dir, name: &str) -> Result<()> {
        self.scrap.publish(dir, name)
    }

    /// Publishes only the layer's files, as [`DIFF`] in `layer`.
    pub(super) fn publish_diff(&self, layer: &Dir) -> Result<()> {
        tree::rename_dir(&self.outer, DIFF, layer, DIFF)
    }
}
