//! Reading and writing one large file. Nothing is synced: what is measured is the way into the page cache.

use std::hint::black_box;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::{pread, pwrite, read, write as write_once};

use crate::random::Random;
use crate::{Measured, timed};

/// The size of random calls.
const BLOCK: u64 = 4096;

fn open_file(file: &str, flags: OFlags) -> Result<(OwnedFd, u64)> {
    let fd = open(file, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
        .with_context(|| format!("opening {file}"))?;
    let size = u64::try_from(fstat(&fd).with_context(|| format!("stat {file}"))?.st_size)?;
    Ok((fd, size))
}

/// Reads the whole file in calls of `call` bytes.
pub fn sequential_read(file: &str, call: u64) -> Result<Measured> {
    let mut buffer = vec![0; usize::try_from(call)?];
    timed(|| {
        let (fd, size) = open_file(file, OFlags::RDONLY)?;
        let mut total = 0;
        loop {
            let length = read(&fd, &mut buffer)? as u64;
            total += length;
            if length == 0 {
                break;
            }
        }
        ensure!(total == size && size > 0, "read {total} of {size} bytes");
        Ok(size.div_ceil(call))
    })
}

/// Maps the file and reads every word of it; one operation is a page.
pub fn mapped_read(file: &str) -> Result<Measured> {
    timed(|| {
        let (fd, size) = open_file(file, OFlags::RDONLY)?;
        let length = usize::try_from(size)?;
        ensure!(length > 0, "{file} is empty");
        // SAFETY: a new private mapping at an address that the kernel chooses.
        let map = unsafe {
            libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, fd.as_raw_fd(), 0)
        };
        ensure!(map != libc::MAP_FAILED, "mapping {file}: {}", std::io::Error::last_os_error());
        // SAFETY: mapped above to its end and not unmapped before; nobody truncates the file meanwhile, and a page
        // has room for whole words.
        let words = unsafe { std::slice::from_raw_parts(map.cast::<u64>(), length / 8) };
        black_box(words.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)));
        // SAFETY: the mapping of above; `words` is not used from here on.
        ensure!(unsafe { libc::munmap(map, length) } == 0, "unmapping: {}", std::io::Error::last_os_error());
        Ok(size.div_ceil(BLOCK))
    })
}

/// Reads `count` blocks at random places.
pub fn random_read(file: &str, count: u64) -> Result<Measured> {
    let mut buffer = [0; BLOCK as usize];
    let mut random = Random::new();
    timed(|| {
        let (fd, size) = open_file(file, OFlags::RDONLY)?;
        ensure!(size >= BLOCK, "{file} is smaller than a block");
        for _ in 0..count {
            let at = random.below(size / BLOCK) * BLOCK;
            ensure!(pread(&fd, &mut buffer, at)? == buffer.len(), "a short read at {at}");
        }
        Ok(count)
    })
}

/// Where a sequential write begins.
pub enum Start {
    /// With a new file.
    New,
    /// With O_APPEND, at the end of a file that is there.
    AtEnd,
}

/// Writes `bytes` in calls of `call` bytes.
pub fn write(file: &str, start: Start, call: u64, bytes: u64) -> Result<Measured> {
    let buffer = vec![b'w'; usize::try_from(call)?];
    let flags = match start {
        Start::New => OFlags::CREATE | OFlags::EXCL,
        Start::AtEnd => OFlags::APPEND,
    };
    timed(|| {
        let (fd, _) = open_file(file, OFlags::WRONLY | flags)?;
        for _ in 0..bytes / call {
            ensure!(write_once(&fd, &buffer)? == buffer.len(), "a short write");
        }
        Ok(bytes / call)
    })
}

/// Writes `count` blocks at random places of a file.
pub fn overwrite(file: &str, count: u64) -> Result<Measured> {
    let buffer = [b'o'; BLOCK as usize];
    let mut random = Random::new();
    timed(|| {
        let (fd, size) = open_file(file, OFlags::WRONLY)?;
        ensure!(size >= BLOCK, "{file} is smaller than a block");
        for _ in 0..count {
            let at = random.below(size / BLOCK) * BLOCK;
            ensure!(pwrite(&fd, &buffer, at)? == buffer.len(), "a short write at {at}");
        }
        Ok(count)
    })
}
