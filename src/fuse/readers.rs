//! The threads that read the kernel's requests. One reads and answers; another is parked, until the first is found to be
//! stuck in a request that takes long: on a slow disk, or in a layer that lies on a slow file system.
//!
//! Several threads that wait for requests wake one another, which costs more than most answers take, and none of them can
//! poll. So a thread that has answered goes on reading only if nobody else does. A monitor looks once in a millisecond,
//! while requests come, whether the one who reads is still at the same request. Then a parked one is released, and for a
//! while requests are [`slow`](Readers::are_slow): left to the workers, since one slow request seldom comes alone.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::busy_poll::BusyPoll;

/// How many threads there are where nothing else is said.
pub(super) const DEFAULT_THREADS: usize = 2;
/// How long a request may take before others are released.
const TICK: Duration = Duration::from_millis(1);
/// How long requests are left to the workers after that, the first time; twice as long each time that it was too short.
const SLOW: Duration = Duration::from_millis(10);
/// At most so long.
const SLOWEST: Duration = Duration::from_millis(640);
/// A request with more inodes to forget in one tick is a long one.
const MANY_FORGOTTEN: u64 = 500;
/// After so many ticks without a request the monitor sleeps.
const IDLE_TICKS: u32 = 100;

/// All threads that read requests of one mount.
#[derive(Debug)]
pub(super) struct Readers {
    busy_poll: BusyPoll,
    /// How many there are.
    threads: usize,
    /// How many have not had a request as yet.
    fresh: AtomicUsize,
    /// How many wait for a request, or are about to.
    reading: AtomicUsize,
    /// Counts requests.
    requests: AtomicU64,
    /// Counts forgotten inodes.
    forgotten: AtomicU64,
    /// Whether requests are left to the workers.
    slow: AtomicBool,
    /// Whether nobody monitors them, so that none is parked.
    unmonitored: AtomicBool,
    /// Whether the monitor looks.
    monitored: AtomicBool,
    parked: Mutex<Parked>,
    released: Condvar,
    monitor: Condvar,
}

#[derive(Debug, Default)]
struct Parked {
    threads: usize,
    /// How many of them may go on.
    released: usize,
    /// Whether the mount is gone.
    over: bool,
    /// Whether the monitor is to look.
    watch: bool,
}

thread_local! {
    /// Ends the parking of the others when its thread ends: then the mount is gone.
    static END: OnceCell<End> = const { OnceCell::new() };
}

struct End(Weak<Readers>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(readers) = self.0.upgrade() {
            readers.end();
        }
    }
}

impl Readers {
    /// For so many threads, which poll for requests with `busy_poll`.
    pub fn new(threads: usize, busy_poll: BusyPoll) -> Arc<Readers> {
        Arc::new(Readers {
            busy_poll,
            threads,
            fresh: AtomicUsize::new(threads),
            reading: AtomicUsize::new(threads),
            requests: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            unmonitored: AtomicBool::new(false),
            monitored: AtomicBool::new(false),
            parked: Mutex::default(),
            released: Condvar::new(),
            monitor: Condvar::new(),
        })
    }

    /// Starts the monitor, with the first request: before that the process may still fork.
    fn start_monitor(self: &Arc<Self>) {
        let readers = Arc::downgrade(self);
        let monitor = thread::Builder::new().name("plyfs-monitor".to_owned()).stack_size(64 << 10);
        if let Err(e) = monitor.spawn(move || monitor_readers(&readers)) {
            log::warn!("no monitor of slow requests, so all threads read at once: {e}");
            self.unmonitored.store(true, Ordering::Relaxed);
        }
    }

    /// Whether requests take long at present: then none is to be answered on the thread that reads them.
    pub fn are_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How they poll.
    pub fn busy_poll(&self) -> &BusyPoll {
        &self.busy_poll
    }

    /// The calling thread has read a request; when the value goes it is answered.
    pub fn turn(self: &Arc<Self>) -> Turn<'_> {
        if self.threads > 1 {
            self.begin();
        }
        self.busy_poll.begin();
        Turn(self)
    }

    fn begin(self: &Arc<Self>) {
        END.with(|end| {
            end.get_or_init(|| {
                if self.fresh.fetch_sub(1, Ordering::SeqCst) == self.threads {
                    self.start_monitor();
                }
                End(Arc::downgrade(self))
            });
        });
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.reading.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.wake_monitor();
        }
    }

    fn wake_monitor(&self) {
        if !self.monitored.load(Ordering::SeqCst) && !self.monitored.swap(true, Ordering::SeqCst) {
            self.parked.lock().watch = true;
            self.monitor.notify_one();
        }
    }

    /// The calling thread is at one of the inodes that the kernel forgets, any number of which come in one request.
    pub fn count_forget(&self) {
        if self.forgotten.fetch_add(1, Ordering::Relaxed).is_multiple_of(MANY_FORGOTTEN) {
            self.wake_monitor();
        }
    }

    /// Whether whoever reads is at a request since before the last tick.
    fn is_stuck(&self, last: &mut Ticked) -> bool {
        let (requests, forgotten) =
            (self.requests.load(Ordering::Relaxed), self.forgotten.load(Ordering::Relaxed));
        let same = requests == last.requests;
        let forgets = forgotten > last.forgotten + MANY_FORGOTTEN;
        let idle = if same && !forgets { last.idle + 1 } else { 0 };
        *last = Ticked { requests, forgotten, idle };
        same && (forgets || self.reading.load(Ordering::SeqCst) == 0)
    }

    /// The calling thread goes on reading if it is needed, else it is parked.
    fn end_turn(&self) {
        if self.threads == 1 {
            return self.busy_poll.poll();
        }
        loop {
            let reading = self.reading.load(Ordering::SeqCst);
            let all = self.unmonitored.load(Ordering::Relaxed) || self.fresh.load(Ordering::SeqCst) > 0;
            if reading > 0 && !all {
                return self.park();
            }
            if self.reading.compare_exchange(reading, reading + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            {
                if reading == 0 {
                    self.busy_poll.poll();
                }
                return;
            }
        }
    }

    fn park(&self) {
        let mut parked = self.parked.lock();
        parked.threads += 1;
        while parked.released == 0 && !parked.over {
            self.released.wait(&mut parked);
        }
        parked.threads -= 1;
        if parked.released > 0 {
            parked.released -= 1;
        } else {
            self.reading.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A parked thread goes on reading.
    fn release_one(&self) {
        let mut parked = self.parked.lock();
        if parked.threads > parked.released {
            parked.released += 1;
            self.reading.fetch_add(1, Ordering::SeqCst);
            drop(parked);
            self.released.notify_one();
        }
    }

    /// The mount is gone.
    fn end(&self) {
        let mut parked = self.parked.lock();
        parked.over = true;
        parked.watch = true;
        drop(parked);
        self.released.notify_all();
        self.monitor.notify_all();
    }

    /// Waits until requests come, and says whether the mount is still there.
    fn wait_for_requests(&self) -> bool {
        let mut parked = self.parked.lock();
        self.monitored.store(false, Ordering::SeqCst);
        // A request that came before that finds nobody to tell.
        while !parked.watch && !parked.over && self.reading.load(Ordering::SeqCst) > 0 {
            self.monitor.wait(&mut parked);
        }
        self.monitored.store(true, Ordering::SeqCst);
        parked.watch = false;
        !parked.over
    }
}

/// What was counted at the last tick.
#[derive(Default)]
struct Ticked {
    requests: u64,
    forgotten: u64,
    /// How many ticks in a row nothing came.
    idle: u32,
}

/// Looks whether the one who reads is stuck, for as long as the mount is there.
fn monitor_readers(readers: &Weak<Readers>) {
    let mut last = Ticked::default();
    let (mut slow_until, mut length) = (Instant::now(), SLOW);
    loop {
        let Some(readers) = readers.upgrade() else { return };
        if last.idle >= IDLE_TICKS {
            last.idle = 0;
            readers.slow.store(false, Ordering::Relaxed);
            if !readers.wait_for_requests() {
                return;
            }
        }
        thread::sleep(TICK);
        let now = Instant::now();
        if readers.is_stuck(&mut last) {
            last.idle = 0;
            // Soon after the last time it was too short.
            length = if now < slow_until + length { (2 * length).min(SLOWEST) } else { SLOW };
            slow_until = now + length;
            readers.slow.store(true, Ordering::Relaxed);
            readers.release_one();
        } else if now > slow_until {
            readers.slow.store(false, Ordering::Relaxed);
        }
    }
}

/// One request being answered.
#[derive(Debug)]
#[must_use]
pub(super) struct Turn<'a>(&'a Arc<Readers>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Starts threads that take turns, each as long as it is told.
    fn start(readers: &Arc<Readers>) -> (Sender<Duration>, Receiver<Duration>, Vec<thread::JoinHandle<()>>) {
        let (requests, queue) = channel::<Duration>();
        let queue = Arc::new(Mutex::new(queue));
        let (answers, answered) = channel();
        let threads = (0..readers.threads()).map(|_| {
            let (readers, queue, answers) = (readers.clone(), queue.clone(), answers.clone());
            thread::spawn(move || {
                loop {
                    let Ok(length) = queue.lock().recv() else { return };
                    let turn = readers.turn();
                    thread::sleep(length);
                    answers.send(length).expect("someone listens");
                    drop(turn);
                }
            })
        });
        (requests, answered, threads.collect())
    }

    #[test]
    fn a_slow_request_holds_up_no_other() {
        let readers = Readers::new(4, BusyPoll::new(Some(Duration::ZERO)));
        let (requests, answered, threads) = start(&readers);
        for _ in 0..100 {
            requests.send(Duration::ZERO).expect("sent");
            assert_eq!(answered.recv_timeout(PATIENCE), Ok(Duration::ZERO));
        }
        let slow = Duration::from_secs(2);
        requests.send(slow).expect("sent");
        requests.send(Duration::ZERO).expect("sent");
        assert_eq!(answered.recv_timeout(PATIENCE), Ok(Duration::ZERO), "before the slow one");
        assert_eq!(answered.recv_timeout(PATIENCE), Ok(slow));
        drop(requests);
        threads.into_iter().for_each(|thread| thread.join().expect("ended"));
    }
}
