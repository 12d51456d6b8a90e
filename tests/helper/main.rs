//! The mount helper end to end: its command line, what its callers see of it, how its mounts end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod ends;
mod harness;
mod remount;
