//! Running containers: an OCI bundle over a mounted root file system, executed by an OCI runtime.
//!
//! ```text
//! ROOT/containers/<id>/run/config.json          the bundle
//!                          resolv.conf hosts hostname   shown in the container's /etc
//!                          status.json          whether it runs, or how it ended
//!                          output.log           what a detached one printed
//!                          state/               the runtime's own
//! ```
//!
//! Namespaces, control groups, seccomp and capabilities are the runtime's; here is what it is told, who waits for it,
//! and what is cleared away afterwards.

pub mod command;
mod console;
pub mod container;
pub mod error;
pub mod limits;
pub mod own_files;
pub mod root;
pub mod rootless;
pub mod runtime;
pub mod sandbox;
pub mod seccomp;
pub mod settings;
pub mod spec;
pub mod status;
pub mod streams;
pub mod supervise;
pub mod user;

pub use container::Instance;
pub use error::RunError;
