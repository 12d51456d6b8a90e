//! Layers on real directories: what `diff` lists and what `pack` writes. No mount.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod apply;
mod compress;
mod diff;
mod hostile;
mod kernel;
mod marks;
mod model;
mod pack;
mod rawtar;
mod squash;
mod tree;
mod unpack;
