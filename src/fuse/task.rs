//! Requests that are answered in steps: tried where they were read, gone on with elsewhere if they take long, parked while
//! others work on the same file.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::overlay::{Error, Patience};

use super::core::Core;
use super::gate::Pass;
use super::workers::Workers;

/// A request under way. `operation` can be begun anew as long as it gives up with [`Error::Long`] or [`Error::Busy`].
pub(super) struct Task<R, O, F> {
    /// Leave to change something, kept until the answer is given.
    pub pass: Option<Pass>,
    /// The way to answer.
    pub reply: R,
    /// What is to be done.
    pub operation: O,
    /// What is to be answered.
    pub finish: F,
}

impl<T, R, O, F> Task<R, O, F>
where
    R: Send + 'static,
    O: Fn(&Core, &mut R) -> Result<T, Error> + Send + 'static,
    F: FnOnce(&Core, R, Result<T, Error>) + Send + 'static,
{
    /// Runs it on the thread that reads requests, unless these take long at present.
    pub fn start(self, core: &Arc<Core>) {
        if core.readers.are_slow() { self.start_long(core) } else { self.run(core, Patience::Short) }
    }

    /// Runs it on a thread for long work.
    pub fn start_long(self, core: &Arc<Core>) {
        let worker = core.clone();
        core.workers.run(move || self.run(&worker, Patience::OwnWork));
    }

    fn run(mut self, core: &Arc<Core>, patience: Patience) {
        match patience.run(|| (self.operation)(core, &mut self.reply)) {
            Err(Error::Long) if patience == Patience::Short => self.start_long(core),
            Err(Error::Busy(node)) => {
                let worker = core.clone();
                core.waiting.wait(
                    node,
                    || core.is_busy(node),
                    move || {
                        self.run(&worker, Patience::OwnWork);
                    },
                );
            }
            result => {
                (self.finish)(core, self.reply, result);
                drop(self.pass);
            }
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Requests that wait for long work on an inode, by its node number. They occupy no thread.
pub(super) struct Waiting {
    jobs: Mutex<HashMap<u64, Vec<Job>>>,
    workers: Arc<Workers>,
}

impl Waiting {
    /// Nobody waits; who has waited goes on with `workers`.
    pub fn new(workers: Arc<Workers>) -> Waiting {
        Waiting { jobs: Mutex::default(), workers }
    }

    /// Keeps `job` until the work has ended; where it is no longer going on, the job goes on at once.
    fn wait(&self, node: u64, is_busy: impl FnOnce() -> bool, job: impl FnOnce() + Send + 'static) {
        let mut jobs = self.jobs.lock();
        // Looked at under the lock that the end of the work takes, so that none waits for an end that has been.
        if is_busy() {
            return jobs.entry(node).or_default().push(Box::new(job));
        }
        drop(jobs);
        self.workers.run(job);
    }

    /// The work has ended.
    pub fn wake(&self, node: u64) {
        let jobs = self.jobs.lock().remove(&node).unwrap_or_default();
        jobs.into_iter().for_each(|job| self.workers.run(job));
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("inodes", &self.jobs.lock().len()).finish_non_exhaustive()
    }
}
