//! Images: commit, history, archives, root file systems. Knows layers and the store, mounts nothing.

pub mod change;
pub mod field_path;
pub mod platform;
pub mod structure_test;
pub mod time;
