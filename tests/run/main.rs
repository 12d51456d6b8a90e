//! `plyfs run` and its companions: programs in containers, with the real kernel and a real OCI runtime.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command_tests;
mod detached;
mod fixture;
mod hostile;
mod killed;
mod life;
mod options;
mod rootless;
mod sandbox;
mod sandbox_apply;
