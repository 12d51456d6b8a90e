//! Writing gzip (RFC 1952) on several cores: one member, made of blocks that are compressed side by side.
//!
//! Every block is raw deflate that ends on a byte (a sync flush), so the blocks can be joined; an empty one ends
//! the deflate stream. Blocks have a fixed size, so the bytes depend on the input alone. Runs of a block that would not
//! get smaller are stored as they are.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::pieces::{Gain, Runs};
use super::{BLOCK, failed_before};

const LEVEL: u32 = 6;
/// Deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The end of the deflate stream: a last block of fixed codes with nothing in it.
const END: [u8; 2] = [3, 0];
/// The most that a stored block holds.
const STORED_MAX: usize = u16::MAX as usize;

/// A block on its way to a worker, and where the worker puts it.
struct Job {
    data: Vec<u8>,
    done: SyncSender<io::Result<Done>>,
}

/// A compressed block.
struct Done {
    bytes: Vec<u8>,
    crc: Crc,
    /// The uncompressed block's memory, for the next one.
    spare: Vec<u8>,
}

/// One member under way.
pub struct Gzip<W: Write> {
    out: W,
    workers: Workers,
    /// The block being filled.
    block: Vec<u8>,
    /// Blocks with the workers, in order.
    pending: VecDeque<Receiver<io::Result<Done>>>,
    spare: Vec<Vec<u8>>,
    crc: Crc,
    size: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Sound,
    Failed,
}

impl<W: Write> Gzip<W> {
    /// Writes the header and starts the workers.
    pub fn new(mut out: W, workers: usize) -> io::Result<Gzip<W>> {
        out.write_all(&HEADER)?;
        Ok(Gzip {
            out,
            workers: Workers::start(workers)?,
            block: Vec::with_capacity(BLOCK),
            pending: VecDeque::new(),
            spare: Vec::new(),
            crc: Crc::new(),
            size: 0,
            state: State::Sound,
        })
    }

    /// Takes in as much as the present block holds.
    pub fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(failed_before());
        }
        if self.block.len() == BLOCK {
            self.guard(|gzip| gzip.submit())?;
        }
        let taken = buf.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&buf[..taken]);
        Ok(taken)
    }

    /// Passes on what is compressed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.guard(|gzip| gzip.out.flush())
    }

    /// Ends the member.
    pub fn finish(mut self) -> io::Result<W> {
        if self.state == State::Failed {
            return Err(failed_before());
        }
        self.submit()?;
        while !self.pending.is_empty() {
            self.collect()?;
        }
        self.out.write_all(&END)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        // The size field is defined modulo 2^32.
        self.out.write_all(&(self.size as u32).to_le_bytes())?;
        Ok(self.out)
    }

    /// Runs a step after whose failure nothing may be written.
    fn guard(&mut self, step: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        step(self).inspect_err(|_| self.state = State::Failed)
    }

    /// Hands the present block to a worker, once no more than a few are under way.
    fn submit(&mut self) -> io::Result<()> {
        while self.pending.len() > self.workers.threads.len() + 1 {
            self.collect()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let data = std::mem::replace(&mut self.block, next);
        self.size = self.size.wrapping_add(data.len() as u64);
        let (done, receiver) = sync_channel(1);
        self.workers.send(Job { data, done })?;
        self.pending.push_back(receiver);
        Ok(())
    }

    /// Waits for the oldest block and writes it.
    fn collect(&mut self) -> io::Result<()> {
        let Some(receiver) = self.pending.pop_front() else { return Ok(()) };
        let done = receiver.recv().map_err(|_| worker_lost())??;
        self.crc.combine(&done.crc);
        self.spare.push(done.spare);
        self.out.write_all(&done.bytes)
    }
}

/// The threads. They end, and are waited for, when this is dropped.
struct Workers {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(count: usize) -> io::Result<Workers> {
        let (jobs, queue) = sync_channel::<Job>(count + 2);
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Workers { jobs: Some(jobs), threads: Vec::with_capacity(count) };
        for _ in 0..count {
            let queue = Arc::clone(&queue);
            workers.threads.push(Builder::new().name("gzip".to_owned()).spawn(move || work(&queue))?);
        }
        Ok(workers)
    }

    fn send(&self, job: Job) -> io::Result<()> {
        let jobs = self.jobs.as_ref().ok_or_else(worker_lost)?;
        jobs.send(job).map_err(|_| worker_lost())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a gzip worker panicked");
            }
        }
    }
}

/// A worker's life: blocks, until there are no more to come.
fn work(queue: &Mutex<Receiver<Job>>) {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { data, done }) = job else { return };
        // Nobody receives it where the writer was given up.
        if done.send(deflate(data, &mut compress)).is_err() {
            log::debug!("a compressed block was not wanted any more");
        }
    }
}

/// Compresses one block.
fn deflate(data: Vec<u8>, compress: &mut Compress) -> io::Result<Done> {
    let mut crc = Crc::new();
    crc.update(&data);
    let mut bytes = Vec::with_capacity(data.len() / 2 + 64);
    for (gain, run) in Runs::of(&data) {
        match gain {
            Gain::Some => shrink(run, compress, &mut bytes)?,
            Gain::None => store(run, &mut bytes),
        }
    }
    let mut spare = data;
    spare.clear();
    Ok(Done { bytes, crc, spare })
}

/// Appends a run, compressed, up to a whole byte.
fn shrink(run: &[u8], compress: &mut Compress, bytes: &mut Vec<u8>) -> io::Result<()> {
    compress.reset();
    loop {
        bytes.reserve(run.len() / 4 + 64);
        let rest = run.get(compress.total_in() as usize..).unwrap_or_default();
        compress.compress_vec(rest, bytes, FlushCompress::Sync)?;
        // The flush is complete when there was room left behind it.
        if compress.total_in() == run.len() as u64 && bytes.len() < bytes.capacity() {
            return Ok(());
        }
    }
}

/// Appends a run as stored blocks (RFC 1951, 3.2.4), which begin at a byte here.
fn store(run: &[u8], bytes: &mut Vec<u8>) {
    bytes.reserve(run.len() + 5 * run.len().div_ceil(STORED_MAX));
    for piece in run.chunks(STORED_MAX) {
        // It cannot be longer than a u16 tells.
        let length = piece.len() as u16;
        bytes.push(0);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&(!length).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
}

fn worker_lost() -> io::Error {
    io::Error::other("a compressing thread ended unexpectedly")
}
