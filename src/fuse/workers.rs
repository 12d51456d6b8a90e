//! Threads for requests that may take long, so that quick ones are not kept waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The most threads at once.
const MOST: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads, started when they are needed.
#[derive(Debug)]
pub struct Workers {
    sender: Sender<Job>,
    receiver: Arc<Mutex<Receiver<Job>>>,
    started: AtomicUsize,
    waiting: Arc<AtomicUsize>,
}

impl Workers {
    /// A pool without threads yet.
    pub fn new() -> Workers {
        let (sender, receiver) = channel();
        Workers {
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
            started: AtomicUsize::new(0),
            waiting: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Runs `job` on one of the threads, or here if there can be none.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let queued = self.waiting.fetch_add(1, Ordering::Relaxed);
        let started = self.started.load(Ordering::Relaxed);
        if queued >= started && started < MOST {
            self.start(started);
        }
        if self.started.load(Ordering::Relaxed) == 0 {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return job();
        }
        if let Err(unsent) = self.sender.send(Box::new(job)) {
            (unsent.0)();
        }
    }

    fn start(&self, number: usize) {
        let (receiver, waiting) = (self.receiver.clone(), self.waiting.clone());
        let name = format!("plyfs-worker-{number}");
        match thread::Builder::new().name(name).spawn(move || work(&receiver, &waiting)) {
            Ok(_) => {
                self.started.fetch_add(1, Ordering::Relaxed);
            }
            Err(e) => log::warn!("no further worker thread: {e}"),
        }
    }
}

/// Takes jobs until the pool is gone.
fn work(receiver: &Mutex<Receiver<Job>>, waiting: &AtomicUsize) {
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            log::error!("a request ended in a panic; its caller was told of an I/O error");
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
