//! How the service talks to the kernel.

use std::time::Duration;

/// Who moves the bytes of open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoMode {
    /// The kernel, straight from and to the real file. Needs CAP_SYS_ADMIN in the initial user namespace.
    Passthrough,
    /// The daemon, with the kernel's page cache in between; opening a file costs no request.
    Cached,
    /// Passthrough where the kernel allows it.
    #[default]
    Auto,
}

/// Settings of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Who moves the bytes.
    pub io: IoMode,
    /// Whether POSIX ACLs are offered.
    pub acl: bool,
    /// Whether extended attributes are offered.
    pub xattrs: bool,
    /// How long the kernel may believe what it was told; `None` for ever.
    pub timeout: Option<Duration>,
    /// For how long to look out for the next request before sleeping; `None` for the default.
    pub busy_poll: Option<Duration>,
    /// Threads that read requests; `None` for the default.
    pub threads: Option<usize>,
}
