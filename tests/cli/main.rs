//! The whole program as a person or a script meets it: what it prints, and the codes it exits with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod diff_and_pack;
mod help;
mod images;
mod images_fixture;
mod images_layers;
mod mount;
mod pause;
mod scratch;
