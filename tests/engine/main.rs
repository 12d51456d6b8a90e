//! The union engine on temporary directories, without a mount. Rules S1… are those of docs/SEMANTICS.md.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod acl;
mod concurrency;
mod copy_up;
mod create;
mod faults;
mod file;
mod harness;
mod identity;
mod ids;
mod layers;
mod link;
mod lookup;
mod marks;
mod memory;
mod open;
mod readdir;
mod remove;
mod rename;
mod setattr;
mod xattr;
