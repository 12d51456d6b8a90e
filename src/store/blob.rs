//! Reading blobs.

/// Reads a blob; the last byte is delivered only if size and digest hold.
#[derive(Debug)]
pub struct BlobReader {}

impl std::io::Read for BlobReader {
    fn read(&mut self, _buf: &mut [u8]) -> std::io::Result<usize> {
        todo!()
    }
}

impl BlobReader {
    /// Reads the rest, so that all is verified.
    pub fn finish(self) -> super::Result<()> {
        todo!()
    }
}
