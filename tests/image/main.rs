//! Images in a store of their own: what import, commit, load, save and the others make of them. No mount.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod archives;
mod commit;
mod harness;
mod removal;
