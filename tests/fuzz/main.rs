//! Random changes of valid archives and texts, for as long as `PLYFS_FUZZ_SECONDS` says: no input makes the program
//! panic, hang, or write beside its store. `scripts/hostile` runs it for longer. What fails is kept, and its seed told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod archives;
mod mutate;
mod texts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mutate::Random;

/// The longest that one input may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long each test goes on.
fn time_to_run() -> Duration {
    let seconds = std::env::var("PLYFS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(1.0))
}

/// The seed that was given, or one of the clock.
fn seed() -> u64 {
    let given = std::env::var("PLYFS_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Makes input after input and gives each to `run`, which panics at what must not be. Input `n` depends on nothing but
/// the seed and `n`.
#[track_caller]
fn rounds(name: &str, make: impl Fn(&mut Random) -> Vec<u8>, mut run: impl FnMut(&[u8])) {
    let (seed, end) = (seed(), Instant::now() + time_to_run());
    let (watch, ticks) = mpsc::channel::<()>();
    let watched = name.to_owned();
    let watcher = thread::spawn(move || {
        loop {
            match ticks.recv_timeout(PATIENCE) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("fuzz {watched}: seed {seed}: an input takes longer than {PATIENCE:?}");
                    std::process::abort();
                }
            }
        }
    });
    let mut n = 0;
    while Instant::now() < end || n == 0 {
        watch.send(()).unwrap();
        let input = make(&mut Random::new(seed, n));
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            let kept = std::env::temp_dir().join(format!("plyfs-fuzz-{name}-{seed}-{n}"));
            std::fs::write(&kept, &input).unwrap();
            panic!("fuzz {name}: seed {seed}, input {n}, kept as {}", kept.display());
        }
        n += 1;
    }
    drop(watch);
    watcher.join().unwrap();
    println!("fuzz {name}: {n} inputs, seed {seed}");
}
