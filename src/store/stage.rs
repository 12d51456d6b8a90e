//! What is being prepared in tmp/.

use std::io;
use std::path::Path;

use super::Result;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;

/// A blob being written.
#[derive(Debug)]
pub struct BlobWriter {}

impl io::Write for BlobWriter {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}

impl BlobWriter {
    /// Writes it out to disk.
    pub fn finish(self) -> Result<StagedBlob> {
        todo!()
    }
    /// Refuses other bytes than the descriptor's.
    pub fn finish_expecting(self, _descriptor: &Descriptor) -> Result<StagedBlob> {
        todo!()
    }
}

/// A blob ready to be published; removed on drop.
#[derive(Debug)]
pub struct StagedBlob {}

impl StagedBlob {
    /// Its digest.
    pub fn digest(&self) -> Digest {
        todo!()
    }
    /// Its length.
    pub fn size(&self) -> u64 {
        todo!()
    }
    /// A descriptor of it.
    pub fn descriptor(&self, _media_type: &str) -> Descriptor {
        todo!()
    }
}

/// A directory to unpack into; removed on drop.
#[derive(Debug)]
pub struct StagedDir {}

impl StagedDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        todo!()
    }
}
