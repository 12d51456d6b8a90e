//! Compression of layers: any known form is read, gzip and zstd are written on all cores.
//!
//! What is written depends on the input alone: neither the number of cores nor the sizes of the writes show.

mod gzip;
mod pieces;
mod read;
mod zstd;

use std::fmt;
use std::io::{self, Write};
use std::thread;

pub use self::read::{Format, decompress};
use crate::oci::media_type::Compression;

/// What is compressed at a time, by one core.
const BLOCK: usize = 1 << 20;

/// More workers than this bring nothing but memory use.
const MAX_WORKERS: usize = 64;

/// A writer that compresses. Errors of the output surface in a later write, or in [`Compressor::finish`];
/// dropped without that, it leaves an incomplete stream. Flushing passes on what is already compressed and
/// does not change the bytes.
pub struct Compressor<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Plain(W),
    Gzip(gzip::Gzip<W>),
    Zstd(zstd::Zstd<W>),
}

impl<W: Write> Compressor<W> {
    /// Begins a stream in `out`, with one worker a core.
    ///
    /// # Errors
    /// Those of `out`, and of starting threads.
    pub fn new(out: W, how: Compression) -> io::Result<Compressor<W>> {
        Compressor::with_workers(out, how, thread::available_parallelism().map_or(1, usize::from))
    }

    /// Begins a stream in `out`, compressed by `workers` threads (1 to 64). Their number does not show in the
    /// bytes.
    ///
    /// # Errors
    /// Those of `out`, and of starting threads.
    pub fn with_workers(out: W, how: Compression, workers: usize) -> io::Result<Compressor<W>> {
        let workers = workers.clamp(1, MAX_WORKERS);
        Ok(Compressor(match how {
            Compression::None => Kind::Plain(out),
            Compression::Gzip => Kind::Gzip(gzip::Gzip::new(out, workers)?),
            Compression::Zstd => Kind::Zstd(zstd::Zstd::new(out, workers)?),
        }))
    }

    /// Ends the stream and gives `out` back, flushed.
    ///
    /// # Errors
    /// Those of `out`; also where an earlier write failed, as the stream is incomplete then.
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self.0 {
            Kind::Plain(out) => out,
            Kind::Gzip(gzip) => gzip.finish()?,
            Kind::Zstd(zstd) => zstd.finish()?,
        };
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(out) => out.write(buf),
            Kind::Gzip(gzip) => gzip.write(buf),
            Kind::Zstd(zstd) => zstd.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Plain(out) => out.flush(),
            Kind::Gzip(gzip) => gzip.flush(),
            Kind::Zstd(zstd) => zstd.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Plain(_) => "Compressor(plain)",
            Kind::Gzip(_) => "Compressor(gzip)",
            Kind::Zstd(_) => "Compressor(zstd)",
        })
    }
}

/// The error of a stream that cannot be completed because a write failed before.
fn failed_before() -> io::Error {
    io::Error::other("the compressed stream is incomplete: an earlier write failed")
}
