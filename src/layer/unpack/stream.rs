//! The tar stream: read in large pieces, counted, and digested on a thread of its own.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::error::UnpackError;
use crate::oci::digest::{Digest, Digester};

/// The size of a tar block.
pub const BLOCK: usize = 512;
/// How much is read at a time; a multiple of [`BLOCK`].
const CHUNK: usize = 256 * 1024;
/// How many pieces may wait to be digested.
const WAITING: usize = 2;
/// Pieces in use at once: the present one, those waiting, the one being digested, and one to read into.
const CHUNKS: usize = WAITING + 3;

/// A tar stream being read.
pub struct Stream<R: Read> {
    input: R,
    /// The piece being looked at, and where it ends and has been used up to.
    chunk: Arc<Vec<u8>>,
    at: usize,
    /// Older pieces, whose memory is used again.
    older: Vec<Arc<Vec<u8>>>,
    /// The bytes of all pieces up to and including the present one.
    read: u64,
    limit: u64,
    hasher: Hasher,
}

impl<R: Read> Stream<R> {
    /// A stream of at most `limit` bytes.
    ///
    /// # Errors
    /// [`UnpackError::Read`] where the digesting thread cannot be started.
    pub fn new(input: R, limit: u64) -> Result<Stream<R>, UnpackError> {
        let hasher = Hasher::start()?;
        Ok(Stream { input, chunk: Arc::default(), at: 0, older: Vec::new(), read: 0, limit, hasher })
    }

    /// Where the next byte stands in the stream.
    pub fn position(&self) -> u64 {
        self.read - (self.chunk.len() - self.at) as u64
    }

    /// Some of the next bytes, without using them up; none at the end of the stream.
    ///
    /// # Errors
    /// [`UnpackError::Read`] and [`UnpackError::Limit`].
    pub fn peek(&mut self) -> Result<&[u8], UnpackError> {
        if self.at == self.chunk.len() {
            self.next_chunk()?;
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    /// Uses up `count` of the bytes that [`Stream::peek`] returned.
    pub fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.chunk.len());
    }

    /// Fills `buffer`; returns how much of it was filled before the stream ended.
    ///
    /// # Errors
    /// Those of [`Stream::peek`].
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let bytes = self.peek()?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[..count]);
            self.consume(count);
            filled += count;
        }
        Ok(filled)
    }

    /// Uses up `count` bytes; returns how many there were.
    ///
    /// # Errors
    /// Those of [`Stream::peek`].
    pub fn skip(&mut self, count: u64) -> Result<u64, UnpackError> {
        let mut skipped = 0;
        while skipped < count {
            let step = (self.peek()?.len() as u64).min(count - skipped);
            if step == 0 {
                break;
            }
            self.consume(step as usize);
            skipped += step;
        }
        Ok(skipped)
    }

    /// Reads to the end; returns the digest and the length of the whole stream.
    ///
    /// # Errors
    /// Those of [`Stream::peek`].
    pub fn finish(mut self) -> Result<(Digest, u64), UnpackError> {
        while !self.peek()?.is_empty() {
            self.at = self.chunk.len();
        }
        Ok((self.hasher.finish()?, self.read))
    }

    /// Reads the next piece and sends it to be digested.
    fn next_chunk(&mut self) -> Result<(), UnpackError> {
        let mut next = if self.older.len() + 1 < CHUNKS { Arc::default() } else { self.older.remove(0) };
        // The digesting thread has let go of it, as the number of waiting pieces is bounded.
        let buffer = Arc::make_mut(&mut next);
        buffer.resize(CHUNK, 0);
        let length = read_full(&mut self.input, buffer)?;
        buffer.truncate(length);
        self.read += length as u64;
        if self.read > self.limit {
            return Err(UnpackError::Limit { what: "bytes", limit: self.limit });
        }
        if length > 0 {
            self.hasher.send(Arc::clone(&next))?;
        }
        let present = std::mem::replace(&mut self.chunk, next);
        self.older.push(present);
        self.at = 0;
        Ok(())
    }
}

/// Reads until `buffer` is full or the input ends.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, UnpackError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count).min(buffer.len()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(UnpackError::Read(e)),
        }
    }
    Ok(filled)
}

/// The digesting thread. It ends, and is waited for, when this is dropped.
struct Hasher {
    chunks: Option<SyncSender<Arc<Vec<u8>>>>,
    thread: Option<JoinHandle<Digest>>,
}

impl Hasher {
    fn start() -> Result<Hasher, UnpackError> {
        let (chunks, queue) = sync_channel::<Arc<Vec<u8>>>(WAITING);
        let work = move || {
            let mut digester = Digester::new();
            for chunk in queue {
                digester.update(&chunk);
            }
            digester.finish()
        };
        let thread = Builder::new().name("sha256".to_owned()).spawn(work).map_err(UnpackError::Read)?;
        Ok(Hasher { chunks: Some(chunks), thread: Some(thread) })
    }

    fn send(&self, chunk: Arc<Vec<u8>>) -> Result<(), UnpackError> {
        let sent = self.chunks.as_ref().map(|chunks| chunks.send(chunk).is_ok());
        if sent == Some(true) { Ok(()) } else { Err(lost()) }
    }

    fn finish(&mut self) -> Result<Digest, UnpackError> {
        self.chunks = None;
        let thread = self.thread.take().ok_or_else(lost)?;
        thread.join().map_err(|_| lost())
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        if self.thread.is_some() && self.finish().is_err() {
            log::error!("the digesting thread panicked");
        }
    }
}

fn lost() -> UnpackError {
    UnpackError::Read(std::io::Error::other("the digesting thread ended unexpectedly"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(self.0.len()).min(7777);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn bytes_are_counted_and_digested_to_the_end() {
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
        let mut stream = Stream::new(Drip(&bytes), u64::MAX).expect("started");
        let mut begin = [0; 1000];
        assert_eq!(stream.fill(&mut begin).expect("read"), 1000);
        assert_eq!(begin, bytes[..1000]);
        assert_eq!(stream.skip(999_000).expect("read"), 999_000);
        assert_eq!(stream.position(), 1_000_000);
        assert_eq!(stream.peek().expect("read")[0], bytes[1_000_000]);
        assert_eq!(stream.finish().expect("read"), (Digest::of(&bytes), 3_000_001));
    }

    #[test]
    fn the_end_is_told() {
        let mut stream = Stream::new(&b"abc"[..], 3).expect("started");
        assert_eq!(stream.fill(&mut [0; 5]).expect("read"), 3);
        assert_eq!(stream.skip(1).expect("read"), 0);
        assert_eq!(stream.finish().expect("read"), (Digest::of(b"abc"), 3));
        let mut stream = Stream::new(&b"abcd"[..], 3).expect("started");
        assert!(matches!(stream.peek(), Err(UnpackError::Limit { .. })));
    }
}
