//! Writing zstd (RFC 8878). The library compresses jobs of a fixed size side by side; with at least one
//! worker thread its output does not depend on their number.

use std::io::{self, Write};

use super::{BLOCK, failed_before};

/// Files of a root file system get 4 % larger than at level 3, in two thirds of the time, and stay smaller than by gzip.
const LEVEL: i32 = 2;

/// One frame with a checksum.
pub struct Zstd<W: Write> {
    encoder: zstd::Encoder<'static, W>,
    /// Handed on in full blocks only, so that the sizes of the writes cannot show.
    block: Vec<u8>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Sound,
    Failed,
}

impl<W: Write> Zstd<W> {
    /// Begins a frame.
    pub fn new(out: W, workers: usize) -> io::Result<Zstd<W>> {
        let mut encoder = zstd::Encoder::new(out, LEVEL)?;
        encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
        encoder.include_checksum(true)?;
        Ok(Zstd { encoder, block: Vec::with_capacity(BLOCK), state: State::Sound })
    }

    /// Takes in as much as the present block holds.
    pub fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(failed_before());
        }
        if self.block.len() == BLOCK {
            self.hand_on()?;
        }
        let taken = buf.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&buf[..taken]);
        Ok(taken)
    }

    /// Passes on what is compressed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.encoder.get_mut().flush()
    }

    /// Ends the frame.
    pub fn finish(mut self) -> io::Result<W> {
        if self.state == State::Failed {
            return Err(failed_before());
        }
        self.hand_on()?;
        self.encoder.finish()
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let written = self.encoder.write_all(&self.block);
        self.block.clear();
        written.inspect_err(|_| self.state = State::Failed)
    }
}
