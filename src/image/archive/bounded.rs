//! A reader that gives out no more than it is allowed to: the tar crate reads an entry's extension headers (PAX, GNU
//! long names) into memory whatever length they state.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// How many bytes may still be read; shared between a reader and whoever grants them.
#[derive(Debug, Clone, Default)]
pub struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    /// Allows `bytes` from now on, whatever was left before.
    pub fn grant(&self, bytes: u64) {
        self.0.set(bytes);
    }
}

/// A reader with an [`Allowance`]. Reading beyond it is an error, except at the end of the input.
#[derive(Debug)]
pub struct Bounded<R> {
    input: R,
    left: Allowance,
}

impl<R: Read> Bounded<R> {
    /// Reads `input` as far as `left` allows.
    pub fn new(input: R, left: Allowance) -> Bounded<R> {
        Bounded { input, left }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.0.get();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return match self.input.read(&mut [0])? {
                0 => Ok(0),
                _ => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, "it has more bytes here than are allowed"))
                }
            };
        }
        let count = self.input.read(&mut buffer[..most])?;
        self.left.grant(left.saturating_sub(count as u64));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let left = Allowance::default();
        let mut reader = Bounded::new(&b"abcdef"[..], left.clone());
        let mut buffer = [0; 4];
        left.grant(3);
        assert_eq!(reader.read(&mut buffer).ok(), Some(3));
        assert_eq!(reader.read(&mut []).ok(), Some(0));
        left.grant(2);
        assert_eq!(reader.read(&mut buffer).ok(), Some(2));
        left.grant(1);
        assert_eq!(reader.read(&mut buffer).ok(), Some(1));
        assert_eq!(reader.read(&mut buffer).ok(), Some(0), "the end is no excess");
        let mut reader = Bounded::new(&b"abc"[..], left);
        assert_eq!(reader.read(&mut buffer).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
    }
}
