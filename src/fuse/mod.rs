//! The FUSE service: translates requests of the kernel to the engine's operations, and answers them. The only
//! importer of the crate fuser.

mod busy_poll;
mod convert;
mod core;
mod gate;
mod listing;
mod opens;
mod options;
mod protocol;
mod readers;
mod requests;
mod resizing;
mod service;
pub mod session;
mod task;
mod workers;

pub use gate::{Gate, Shut};
pub use options::{IoMode, ServiceOptions};
pub use service::Service;
