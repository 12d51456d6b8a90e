//! Through a real mount: the program serves layers from a scratch directory, and the tests use what it shows. Each
//! test runs with `io=passthrough` and with `io=cached`. After every mount the lowers must be what they were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attributes;
mod calls;
mod copy_up;
mod directories;
mod harness;
mod life;
mod links;
mod lower_unharmed;
mod open_files;
mod owners;
mod rename;
mod resources;
mod snapshot;
mod unprivileged;
