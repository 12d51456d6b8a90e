//! Copying file content between real files: shared blocks where the file system can, holes kept.

use std::os::fd::{AsFd, OwnedFd};

use super::fs::{self, SeekFrom};
use super::{Errno, Result};

/// One call copies at most this much, so that an interrupted copy ends soon.
const CHUNK: usize = 16 << 20;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// When the copied content begins to go to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOut {
    /// While the rest of it is still copied, as somebody is going to wait for it.
    Early,
    /// When the kernel sees fit.
    Later,
}

/// Makes the empty file `to` hold what `from` holds, `size` bytes.
///
/// # Errors
/// ENOSPC, EIO and the like, EIO also where `from` has fewer bytes than that; `to` is then in no defined state.
pub fn copy(from: &OwnedFd, to: &OwnedFd, size: u64, write_out: WriteOut) -> Result<()> {
    if size == 0 || fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let (mut position, mut written) = (0, 0);
    while position < size {
        let Some((start, end)) = next_data(from, position, size)? else { break };
        written = copy_range(from, to, start, end, write_out)?;
        position = end;
    }
    // Behind the last data may be a hole.
    if written < size { fs::ftruncate(to, size) } else { Ok(()) }
}

/// The next stretch of data at or behind `position`.
fn next_data(from: &OwnedFd, position: u64, size: u64) -> Result<Option<(u64, u64)>> {
    let start = match fs::lseek(from.as_fd(), position as i64, SEEK_DATA) {
        Ok(start) => start as u64,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((position, size))),
        Err(e) => return Err(e),
    };
    let end = fs::lseek(from.as_fd(), start as i64, SEEK_HOLE).map_or(size, |end| end as u64);
    Ok((start < size).then_some((start, end.min(size))))
}

/// Copies the bytes from `start` to `end`, in the kernel where it can; returns where they end in the copy.
fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64, write_out: WriteOut) -> Result<u64> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = (end - read_at).min(CHUNK as u64) as usize;
        match fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
            // Before the end, which some file systems say without a cause: what is there is read.
            Ok(0) => return copy_by_hand(from, to, read_at, end),
            Ok(copied) if write_out == WriteOut::Early && read_at < end => {
                fs::start_writing_out(to.as_fd(), (write_at - copied as u64) as i64, copied as i64)?;
            }
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return copy_by_hand(from, to, read_at, end);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(write_at)
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<u64> {
    let mut buffer = vec![0u8; 256 << 10];
    fs::seek(to, SeekFrom::Start(start))?;
    let mut at = start;
    while at < end {
        let want = buffer.len().min((end - at) as usize);
        let got = fs::pread(from, &mut buffer[..want], at)?;
        if got == 0 {
            // Shorter than its size says: what is missing must not be filled with zeros.
            return Err(Errno::IO);
        }
        write_all(to, &buffer[..got], at)?;
        at += got as u64;
    }
    Ok(at)
}

/// Writes all of `bytes` at `offset`.
pub fn write_all(to: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        match fs::pwrite(to, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn holes_stay_holes_and_bytes_stay_equal() {
        let from = tempfile::tempfile().unwrap();
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(b"middle", 10 << 20).unwrap();
        from.set_len((20 << 20) + 3).unwrap();
        let to = tempfile::tempfile().unwrap();
        let (from, to): (OwnedFd, OwnedFd) = (from.into(), to.into());
        copy(&from, &to, (20 << 20) + 3, WriteOut::Early).unwrap();
        let (from, to) = (std::fs::File::from(from), std::fs::File::from(to));
        assert_eq!(from.metadata().unwrap().len(), to.metadata().unwrap().len());
        assert!(to.metadata().unwrap().blocks() < 1024);
        let mut bytes = [0; 6];
        to.read_exact_at(&mut bytes, 10 << 20).unwrap();
        assert_eq!(&bytes, b"middle");
    }

    #[test]
    fn a_file_that_is_shorter_than_it_says_is_an_error_and_no_zeros() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(b"short", 0).unwrap();
        let (from, to): (OwnedFd, OwnedFd) = (from.into(), to.into());
        assert_eq!(copy_range(&from, &to, 0, 10, WriteOut::Later), Err(Errno::IO));
        assert_eq!(copy_by_hand(&from, &to, 0, 10), Err(Errno::IO));
    }

    #[test]
    fn copying_by_hand_gives_the_same() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let content: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        from.write_all_at(&content, 0).unwrap();
        let (from, to): (OwnedFd, OwnedFd) = (from.into(), to.into());
        copy_by_hand(&from, &to, 0, content.len() as u64).unwrap();
        let mut back = vec![0; content.len()];
        std::fs::File::from(to).read_exact_at(&mut back, 0).unwrap();
        assert!(back == content);
    }
}
