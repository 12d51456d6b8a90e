//! Mounting: options, the daemon, the mount helper, unmounting.
//!
//! Knows processes, signals and mount tables; what a union does is the engine's, and how the kernel is
//! answered the adapter's affair.

mod control;
pub mod daemon;
pub mod helper;
pub mod logging;
pub mod mountinfo;
pub mod options;
pub mod pause;
pub mod remount;
pub mod serve;
pub mod unmount;
mod watch;

pub use crate::overlay::{LowerMarks, Nesting};
pub use daemon::Outcome;
pub use options::Options;
pub use pause::{Pause, PauseError, flush};
pub use serve::{Attachment, MountError, mount};
pub use unmount::{Lazy, UnmountError, unmount};
