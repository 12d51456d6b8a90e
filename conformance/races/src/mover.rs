//! The thread that moves names, endlessly, until it is told to stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::sys;

/// What is done to a pair of names.
#[derive(Debug, Clone)]
pub enum Move {
    /// Both names stay, what they name changes.
    Exchange(PathBuf, PathBuf),
    /// From the first name to the second and back.
    ToAndFro(PathBuf, PathBuf),
    /// Once.
    Unlink(PathBuf),
    /// Once: the first takes the place of the second.
    Replace(PathBuf, PathBuf),
}

/// A thread that moves, and what it is to move; the lock is held while a step is done.
pub struct Mover {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    job: Mutex<Job>,
    /// The other thread wants the lock, which is not given out in turn.
    asked: AtomicBool,
    end: AtomicBool,
    /// All steps there ever were.
    steps: AtomicU64,
}

#[derive(Default)]
struct Job {
    movement: Option<Move>,
    steps: u64,
    fault: Option<sys::Fault>,
    /// Before the first step.
    pause: Duration,
}

impl Mover {
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            job: Mutex::default(),
            asked: AtomicBool::new(false),
            end: AtomicBool::new(false),
            steps: AtomicU64::new(0),
        });
        let inner = shared.clone();
        Self { shared, thread: Some(thread::spawn(move || run(&inner))) }
    }

    /// Begins to move.
    pub fn go(&self, movement: Move) {
        self.go_after(Duration::ZERO, movement);
    }

    /// Begins to move after a short while.
    pub fn go_after(&self, pause: Duration, movement: Move) {
        let mut job = self.job();
        job.pause = pause;
        job.steps = 0;
        job.movement = Some(movement);
    }

    /// How many steps there were, of all movements.
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// Nothing moves any more once this returns. How often it did; names are where they were, or exchanged.
    pub fn rest(&self) -> sys::Result<u64> {
        let mut job = self.job();
        job.movement = None;
        let steps = std::mem::take(&mut job.steps);
        job.fault.take().map_or(Ok(steps), Err)
    }

    /// Whether a movement that happens once has happened.
    pub fn is_done(&self) -> bool {
        self.job().movement.is_none()
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.shared.asked.store(true, Ordering::SeqCst);
        let job = self.shared.job.lock().expect("the mover is well");
        self.shared.asked.store(false, Ordering::SeqCst);
        job
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    while !shared.end.load(Ordering::Relaxed) {
        if !shared.asked.load(Ordering::SeqCst) {
            let mut job = shared.job.lock().expect("the other thread is well");
            if let Some(movement) = job.movement.clone() {
                spin(std::mem::take(&mut job.pause));
                match step(&movement) {
                    Ok(()) => {
                        job.steps += 1;
                        shared.steps.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(fault) => {
                        job.fault = Some(fault);
                        job.movement = None;
                    }
                }
                if matches!(movement, Move::Unlink(_) | Move::Replace(..)) {
                    job.movement = None;
                }
            }
        }
        thread::yield_now();
    }
}

/// Waits without sleeping, which would take longer than what is to be met.
pub fn spin(pause: Duration) {
    let began = Instant::now();
    while began.elapsed() < pause {
        std::hint::spin_loop();
    }
}

fn step(movement: &Move) -> sys::Result<()> {
    match movement {
        Move::Exchange(one, other) => sys::exchange(one, other),
        Move::ToAndFro(here, there) => sys::rename(here, there).and_then(|()| sys::rename(there, here)),
        Move::Unlink(path) => sys::unlink(path),
        Move::Replace(from, to) => sys::rename(from, to),
    }
}
