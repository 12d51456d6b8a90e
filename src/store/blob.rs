//! Reading blobs: size and digest are verified as part of reading.

use std::fs::File;
use std::io::{self, Read};

use super::dir::Dir;
use super::{Result, StoreError};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Digest, Digester};

/// How far a reader is.
#[derive(Debug)]
enum State {
    /// It goes on, having seen these bytes.
    Reading(Digester),
    /// All was read and is right.
    Verified,
    /// All was read and has this digest instead.
    Damaged(Digest),
}

/// Reads a blob. Its last byte is delivered only if all bytes have the descriptor's digest; otherwise reading ends with
/// an error of kind `InvalidData` whose source is the [`StoreError`]. A blob removed meanwhile can be read to its end.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    digest: Digest,
    size: u64,
    left: u64,
    state: State,
}

impl BlobReader {
    /// Opens the blob; its file must be regular and have the descriptor's size.
    pub(super) fn open(blobs: &Dir, descriptor: &Descriptor) -> Result<BlobReader> {
        let (digest, expected) = (descriptor.digest, descriptor.size);
        let (file, found) = blobs.open_file(digest.hex())?.ok_or(StoreError::BlobMissing { digest })?;
        if found != expected {
            return Err(StoreError::BlobSize { digest, expected, found });
        }
        Ok(BlobReader {
            file,
            digest,
            size: expected,
            left: expected,
            state: State::Reading(Digester::new()),
        })
    }

    /// The blob's length.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads what is left, so that all of the blob is verified.
    ///
    /// # Errors
    /// [`StoreError::BlobDigest`], [`StoreError::BlobSize`], and what the system says.
    pub fn finish(mut self) -> Result<()> {
        let digest = self.digest;
        io::copy(&mut self, &mut io::sink()).map(drop).map_err(|e| unwrap_error(e, digest))
    }

    /// Judges the whole, once nothing is left to read.
    fn verify(&mut self) -> Result<()> {
        if let State::Reading(digester) = &self.state {
            let found = digester.clone().finish();
            self.state = if found == self.digest { State::Verified } else { State::Damaged(found) };
        }
        match self.state {
            State::Damaged(found) => Err(StoreError::BlobDigest { expected: self.digest, found }),
            _ => Ok(()),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 && self.left > 0 {
            return Ok(0);
        }
        let n = self.file.read(&mut buf[..wanted])?;
        if n == 0 && self.left > 0 {
            let found = self.size - self.left;
            let short = StoreError::BlobSize { digest: self.digest, expected: self.size, found };
            return Err(io::Error::new(io::ErrorKind::InvalidData, short));
        }
        self.left -= n as u64;
        if let State::Reading(digester) = &mut self.state {
            digester.update(&buf[..n]);
        }
        if self.left == 0 {
            self.verify().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        }
        Ok(n)
    }
}

/// All bytes of a blob that may be at most `limit` long.
pub(super) fn read_all(blobs: &Dir, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let (size, digest) = (descriptor.size, descriptor.digest);
    if size > limit {
        return Err(StoreError::TooLarge { what: format!("blob {digest}"), size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or(0));
    let mut reader = BlobReader::open(blobs, descriptor)?;
    reader.read_to_end(&mut bytes).map_err(|e| unwrap_error(e, digest))?;
    Ok(bytes)
}

/// The store's own error inside one of reading.
fn unwrap_error(error: io::Error, digest: Digest) -> StoreError {
    match error.downcast::<StoreError>() {
        Ok(inner) => inner,
        Err(error) => StoreError::system("read blob", digest.to_string())(error),
    }
}
