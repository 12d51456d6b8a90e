//! The union engine on temporary directories, without a mount. Rules S1… are those of docs/SEMANTICS.md.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod harness;
mod layers;
mod lookup;
mod remove;
mod rename;
