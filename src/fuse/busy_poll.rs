//! Polling for the next request for a moment before sleeping.
//!
//! A caller mostly asks again as soon as it is answered. If the thread that answers went to sleep meanwhile, it has to be
//! woken on a processor that went idle, which costs many times what the answer costs, above all in a virtual machine.
//! Whether to poll adapts, as halt polling of KVM does: it begins when requests follow each other closely, and ends with
//! the first that does not come in time.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::sys::poll;

/// For how long to poll where nothing else is said.
const WINDOW: Duration = Duration::from_micros(100);
/// Requests follow each other closely where one comes within this time of the last answer, waking up included.
const CLOSE: Duration = Duration::from_micros(250);
/// Says in place of a time that nobody slept.
const NEVER: u64 = u64::MAX;

/// What the thread that reads requests does between two of them.
#[derive(Debug)]
pub(super) struct BusyPoll {
    /// Where requests come from; until it is known nobody polls.
    device: OnceLock<OwnedFd>,
    window: Duration,
    origin: Instant,
    /// Whether requests follow each other closely.
    close: AtomicBool,
    /// The last answer before the thread went to sleep, in nanoseconds since `origin`.
    slept_since: AtomicU64,
}

impl BusyPoll {
    /// Polls for `window` at a time; `None` for the default, which is not at all where callers have no other
    /// processor to run on.
    pub(super) fn new(window: Option<Duration>) -> BusyPoll {
        let alone = available_parallelism().map_or(1, usize::from) < 2;
        BusyPoll {
            device: OnceLock::new(),
            window: window.unwrap_or(if alone { Duration::ZERO } else { WINDOW }),
            origin: Instant::now(),
            close: AtomicBool::new(false),
            slept_since: AtomicU64::new(NEVER),
        }
    }

    /// Says where requests come from.
    pub(super) fn watch(&self, device: BorrowedFd<'_>) {
        if self.window.is_zero() {
            return;
        }
        match device.try_clone_to_owned() {
            Ok(device) => self.device.set(device).unwrap_or_default(),
            Err(e) => log::debug!("not polling for requests: {e}"),
        }
    }

    /// A request has come.
    pub(super) fn begin(&self) {
        if self.device.get().is_some() {
            let since = self.slept_since.swap(NEVER, Ordering::Relaxed);
            if since != NEVER {
                let slept = self.now().saturating_sub(Duration::from_nanos(since));
                self.close.store(slept <= CLOSE, Ordering::Relaxed);
            }
        }
    }

    /// The request is answered: returns when another one is there, or when there is none for too long.
    pub(super) fn poll(&self) {
        let Some(device) = self.device.get() else { return };
        let answered = self.now();
        if self.close.load(Ordering::Relaxed) {
            while self.now() - answered < self.window {
                // What is wrong with the device is for the reader to find.
                if poll::is_readable(device).unwrap_or(true) {
                    return;
                }
            }
        }
        self.slept_since.store(answered.as_nanos() as u64, Ordering::Relaxed);
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn polled(window: u64) -> (BusyPoll, UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let poll = BusyPoll::new(Some(Duration::from_millis(window)));
        poll.watch(ours.as_fd());
        (poll, ours, theirs)
    }

    fn slept(poll: &BusyPoll) -> bool {
        poll.slept_since.load(Ordering::Relaxed) != NEVER
    }

    #[test]
    fn it_polls_only_while_requests_follow_closely() {
        let (poll, _ours, mut theirs) = polled(5);
        poll.begin();
        poll.poll();
        assert!(slept(&poll), "nothing says yet that another one comes soon");
        // As if the next one had come at once.
        poll.slept_since.store(poll.now().as_nanos() as u64, Ordering::Relaxed);
        poll.begin();
        assert!(poll.close.load(Ordering::Relaxed));
        theirs.write_all(b"request").expect("written");
        poll.poll();
        assert!(!slept(&poll), "the next one was there");
    }

    #[test]
    fn one_that_comes_late_ends_it() {
        let (poll, _ours, _theirs) = polled(1);
        poll.close.store(true, Ordering::Relaxed);
        poll.begin();
        poll.poll();
        assert!(slept(&poll));
        std::thread::sleep(2 * CLOSE);
        poll.begin();
        assert!(!poll.close.load(Ordering::Relaxed));
    }

    #[test]
    fn without_a_window_nobody_polls() {
        let (poll, _ours, _theirs) = polled(0);
        poll.begin();
        poll.poll();
        assert!(!slept(&poll) && poll.device.get().is_none());
    }
}
