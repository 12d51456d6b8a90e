//! Writing gzip (RFC 1952) on several cores: one member, made of blocks that are compressed side by side.
//!
//! Every block is raw deflate that ends on a byte (a sync flush), so the blocks can be joined; the last one ends
//! the deflate stream. Blocks have a fixed size, so the bytes depend on the input alone.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::{BLOCK, failed_before};

const LEVEL: u32 = 6;
/// Deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Which place in the stream a block has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Others follow.
    Inner,
    /// It ends the stream.
    Last,
}

/// A block on its way to a worker, and where the worker puts it.
struct Job {
    data: Vec<u8>,
    place: Place,
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

    /// Takes in as much as the present block holds. A full block stays until more comes, as it may be the last.
    pub fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(failed_before());
        }
        if self.block.len() == BLOCK && !buf.is_empty() {
            self.guard(|gzip| gzip.submit(Place::Inner))?;
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
        self.submit(Place::Last)?;
        while !self.pending.is_empty() {
            self.collect()?;
        }
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
    fn submit(&mut self, place: Place) -> io::Result<()> {
        while self.pending.len() > self.workers.threads.len() + 1 {
            self.collect()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let data = std::mem::replace(&mut self.block, next);
        self.size = self.size.wrapping_add(data.len() as u64);
        let (done, receiver) = sync_channel(1);
        self.workers.send(Job { data, place, done })?;
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
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { data, place, done }) = job else { return };
        // Nobody receives it where the writer was given up.
        if done.send(deflate(data, place)).is_err() {
            log::debug!("a compressed block was not wanted any more");
        }
    }
}

/// Compresses one block.
fn deflate(data: Vec<u8>, place: Place) -> io::Result<Done> {
    let mut crc = Crc::new();
    crc.update(&data);
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    let mut bytes = Vec::with_capacity(data.len() / 2 + 64);
    let flush = if place == Place::Last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let rest = data.get(compress.total_in() as usize..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut bytes, flush)?;
        let all_in = compress.total_in() == data.len() as u64;
        // A sync flush is complete when there was room left behind it.
        let flushed = place == Place::Inner && all_in && bytes.len() < bytes.capacity();
        if flushed || status == Status::StreamEnd {
            break;
        }
        bytes.reserve(data.len() / 4 + 64);
    }
    let mut spare = data;
    spare.clear();
    Ok(Done { bytes, crc, spare })
}

fn worker_lost() -> io::Error {
    io::Error::other("a compressing thread ended unexpectedly")
}
