//! What all scenarios share: turns over the pairs until the time is over, and counting.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::mover::{Move, Mover};
use crate::sys::{Fault, Result};
use crate::tree::{Set, Shape};

/// Of one scenario.
pub enum Verdict {
    Ran(Tally),
    /// Why it cannot be done here.
    Skipped(String),
}

/// How often, and what went wrong.
#[derive(Default)]
pub struct Tally {
    pub done: u64,
    pub moved: u64,
    pub wrong: u64,
    pub first: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, result: Result<()>) -> bool {
        self.done += 1;
        let Err(fault) = result else { return true };
        self.wrong += 1;
        if self.first.len() < 3 && !self.first.contains(&fault.what) {
            self.first.push(fault.what);
        }
        false
    }
}

/// What a scenario may use.
pub struct Stage {
    /// Its set.
    pub set: Set,
    /// A directory of the mount where it may make files of its own.
    pub scratch: PathBuf,
    pub mover: Mover,
    pub tally: Tally,
    until: Instant,
    began: Instant,
    budget: Duration,
}

impl Stage {
    pub fn new(directory: &Path, shape: Shape, scratch: &Path, budget: Duration) -> Self {
        let now = Instant::now();
        Self {
            set: Set::new(directory, shape),
            scratch: scratch.to_owned(),
            mover: Mover::start(),
            tally: Tally::default(),
            until: now + budget,
            began: now,
            budget,
        }
    }

    /// Ten times the time it was given, whatever happened: a mount that hangs must not hang this too.
    pub fn is_late(&self) -> bool {
        self.began.elapsed() > self.budget * 10
    }

    /// Calls `turn` for one pair after the other until the time is over, each pair at rest before and after it, and
    /// audited. At least some pairs have their turn.
    pub fn turns(&mut self, mut turn: impl FnMut(&mut Self, usize) -> Result<()>) {
        for turn_number in 0.. {
            if turn_number >= 8 && Instant::now() >= self.until || self.is_late() {
                break;
            }
            let pair = turn_number % self.set.shape.pairs;
            if self.set.dead.len() == self.set.shape.pairs {
                break;
            }
            if self.set.dead.contains(&pair) {
                continue;
            }
            let result = self.set.learn(pair).and_then(|()| turn(self, pair));
            let rested = self.mover.rest();
            let moved = rested.map(|steps| self.tally.moved += steps);
            let audited = match &moved {
                Ok(()) => self.set.audit(pair),
                Err(_) => Ok(()),
            };
            // One count for the turn's own failure, one for what was found afterwards.
            let mut well = true;
            for outcome in [result, moved, audited] {
                if outcome.is_err() {
                    well = self.tally.count(outcome);
                }
            }
            if !well {
                self.set.dead.insert(pair);
            }
        }
    }

    /// Notes all inode numbers first, and makes the kernel forget the names where it may be told so: each pair is then
    /// looked up while it moves.
    pub fn learn_and_forget(&mut self) {
        for pair in 0..self.set.shape.pairs {
            let learnt = self.set.learn(pair);
            if learnt.is_err() {
                self.tally.count(learnt);
            }
        }
        _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
        self.until = Instant::now() + self.budget;
    }

    pub fn exchange(&self, pair: usize) -> Move {
        Move::Exchange(self.set.path("a", pair), self.set.path("c", pair))
    }

    pub fn to_and_fro(&self, pair: usize) -> Move {
        Move::ToAndFro(self.set.path("a", pair), self.set.path("b", pair))
    }

    pub fn verdict(self) -> Verdict {
        if self.tally.moved == 0 && self.tally.wrong == 0 {
            let mut tally = self.tally;
            tally.count(Err(Fault::new("nothing was moved")));
            return Verdict::Ran(tally);
        }
        Verdict::Ran(self.tally)
    }
}
