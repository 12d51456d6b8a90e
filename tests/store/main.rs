//! The image store on temporary directories: publishing, removing, crashes, several processes, repair.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")]

mod check;
mod collect;
mod concurrency;
mod containers;
mod harness;
mod journal;
mod killed;
mod open;
mod publish;
mod random;
