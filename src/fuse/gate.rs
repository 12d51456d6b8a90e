//! The gate: requests that change something pass it, and wait outside while someone holds it shut.
//!
//! A request that waits occupies no thread and holds no lock of ours. The kernel, however, keeps the directory of
//! a waiting creation, removal or rename locked: who holds the gate shut must not look names up in the mount.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::workers::Workers;

/// A request, run with its pass once it may go on.
type Job = Box<dyn FnOnce(Pass) + Send>;

/// The gate of one mount. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when the last pass is returned.
    idle: Condvar,
    /// What was held back runs here.
    workers: Workers,
}

#[derive(Default)]
struct State {
    /// How many requests are under way.
    passes: usize,
    /// How many hold the gate shut.
    shut: usize,
    /// Whether nobody can shut it any more.
    over: bool,
    held: Vec<Job>,
}

impl State {
    fn is_open(&self) -> bool {
        self.over || self.shut == 0
    }
}

/// Leave to change something, until it is dropped.
pub(super) struct Pass(Arc<Shared>);

/// Holds the gate shut until it is dropped.
#[derive(Debug)]
pub struct Shut(Gate);

impl Default for Gate {
    /// An open gate.
    fn default() -> Gate {
        Gate(Arc::new(Shared { state: Mutex::default(), idle: Condvar::new(), workers: Workers::new() }))
    }
}

impl Gate {
    /// A pass, if the gate is open.
    pub(super) fn pass(&self) -> Option<Pass> {
        let mut state = self.0.state.lock();
        state.is_open().then(|| {
            state.passes += 1;
            Pass(self.0.clone())
        })
    }

    /// Gives `job` back with a pass if the gate is open; else keeps it until it is.
    pub(super) fn admit<J: FnOnce(Pass) + Send + 'static>(&self, job: J) -> Option<(Pass, J)> {
        let mut state = self.0.state.lock();
        if state.is_open() {
            state.passes += 1;
            return Some((Pass(self.0.clone()), job));
        }
        state.held.push(Box::new(job));
        None
    }

    /// Holds back every request that comes from now on; those under way go on, see [`Shut::is_drained`]. `None` once
    /// the mount is to be taken away.
    pub fn shut(&self) -> Option<Shut> {
        let mut state = self.0.state.lock();
        (!state.over).then(|| {
            state.shut += 1;
            Shut(self.clone())
        })
    }

    /// Opens the gate for good, whoever holds it shut: the mount is to be taken away, and who waits would keep it.
    pub fn open_for_good(&self) {
        let mut state = self.0.state.lock();
        state.over = true;
        let admitted = self.admit_held(&mut state);
        drop(state);
        self.run(admitted);
    }

    /// The waiting requests, each with its pass before anyone can shut the gate again: no pause overtakes them.
    fn admit_held(&self, state: &mut State) -> Vec<(Pass, Job)> {
        let held = std::mem::take(&mut state.held);
        state.passes += held.len();
        held.into_iter().map(|job| (Pass(self.0.clone()), job)).collect()
    }

    fn run(&self, admitted: Vec<(Pass, Job)>) {
        for (pass, job) in admitted {
            self.0.workers.run(move || job(pass));
        }
    }
}

impl Shut {
    /// Waits for the requests that were under way to end, at most for `patience`; whether they have.
    pub fn is_drained(&self, patience: Duration) -> bool {
        let shared = &self.0.0;
        let deadline = Instant::now() + patience;
        let mut state = shared.state.lock();
        while state.passes > 0 && !state.over {
            if shared.idle.wait_until(&mut state, deadline).timed_out() {
                return state.passes == 0;
            }
        }
        true
    }

    /// Whether nothing has passed since [`Shut::is_drained`] said so.
    pub fn is_held(&self) -> bool {
        !self.0.0.state.lock().over
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        let mut state = self.0.0.state.lock();
        state.shut -= 1;
        let admitted = if state.is_open() { self.0.admit_held(&mut state) } else { Vec::new() };
        drop(state);
        self.0.run(admitted);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.passes -= 1;
        if state.passes == 0 {
            self.0.idle.notify_all();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Gate")
            .field("passes", &state.passes)
            .field("shut", &state.shut)
            .field("over", &state.over)
            .field("held", &state.held.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Asks for a pass to send a word; the word comes when it was given.
    fn ask(gate: &Gate) -> Receiver<()> {
        let (sender, receiver) = channel();
        let job = move |_pass: Pass| sender.send(()).expect("someone listens");
        if let Some((pass, job)) = gate.admit(job) {
            job(pass);
        }
        receiver
    }

    #[test]
    fn an_open_gate_lets_pass_at_once() {
        assert!(ask(&Gate::default()).try_recv().is_ok());
    }

    #[test]
    fn a_shut_gate_holds_back_until_all_let_go() {
        let gate = Gate::default();
        let first = gate.shut().expect("open");
        let second = gate.shut().expect("open");
        assert!(first.is_drained(SOON) && second.is_drained(SOON));
        assert!(gate.pass().is_none());
        let word = ask(&gate);
        drop(first);
        assert!(word.recv_timeout(SOON).is_err());
        drop(second);
        assert!(word.recv_timeout(PATIENCE).is_ok());
        assert!(gate.pass().is_some());
    }

    #[test]
    fn what_is_under_way_is_waited_for() {
        let gate = Gate::default();
        let pass = gate.pass().expect("open");
        let shut = gate.shut().expect("open");
        assert!(!shut.is_drained(SOON));
        drop(pass);
        assert!(shut.is_drained(PATIENCE));
    }

    #[test]
    fn what_was_held_back_is_waited_for_by_the_next() {
        let gate = Gate::default();
        let shut = gate.shut().expect("open");
        let (go, wait) = channel::<()>();
        assert!(gate.admit(move |_pass: Pass| wait.recv().unwrap_or_default()).is_none());
        drop(shut);
        let next = gate.shut().expect("open");
        assert!(!next.is_drained(SOON));
        drop(go);
        assert!(next.is_drained(PATIENCE));
    }

    #[test]
    fn at_the_end_nothing_is_held_back() {
        let gate = Gate::default();
        let shut = gate.shut().expect("open");
        let word = ask(&gate);
        gate.open_for_good();
        assert!(word.recv_timeout(PATIENCE).is_ok());
        assert!(!shut.is_held());
        assert!(gate.shut().is_none());
        assert!(ask(&gate).try_recv().is_ok());
        drop(shut);
    }
}
