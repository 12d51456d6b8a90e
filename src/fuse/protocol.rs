//! What the kernel and the service agree on when the mount comes up.

use std::io;

use fuser::{InitFlags, KernelConfig};

use crate::overlay::Overlay;

use super::options::{IoMode, ServiceOptions};

/// The most bytes in one write request.
const MAX_WRITE: u32 = 1 << 20;

/// Agrees on the protocol; returns whether the kernel reads and writes files by itself.
///
/// # Errors
/// Passthrough was asked for and cannot be had.
pub(super) fn agree(
    overlay: &Overlay,
    options: &ServiceOptions,
    config: &mut KernelConfig,
) -> io::Result<bool> {
    for flag in wanted(options) {
        if let Err(missing) = config.add_capabilities(flag) {
            log::debug!("the kernel does not offer {missing:?}");
        }
    }
    if let Err(nearest) = config.set_max_write(MAX_WRITE) {
        log::debug!("largest write is {nearest}");
    }
    agree_on_io(overlay, options.io, config)
}

/// What the protocol is to do for us, beside what the chosen I/O asks for.
fn wanted(options: &ServiceOptions) -> Vec<InitFlags> {
    let mut flags = vec![
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        InitFlags::FUSE_CACHE_SYMLINKS,
        InitFlags::FUSE_PARALLEL_DIROPS,
        InitFlags::FUSE_ASYNC_DIO,
        InitFlags::FUSE_DONT_MASK,
        InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        InitFlags::FUSE_NO_OPEN_SUPPORT,
        InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    ];
    if options.acl {
        flags.push(InitFlags::FUSE_POSIX_ACL);
    }
    flags
}

/// Agrees on passthrough, where it is wanted and possible.
fn agree_on_io(overlay: &Overlay, io: IoMode, config: &mut KernelConfig) -> io::Result<bool> {
    if io == IoMode::Cached {
        return Ok(false);
    }
    let depth = if overlay.is_stacked() { 2 } else { 1 };
    let possible = overlay.is_initial_root()
        && config.set_max_stack_depth(depth).is_ok()
        && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH | InitFlags::FUSE_ATOMIC_O_TRUNC).is_ok();
    if !possible && io == IoMode::Passthrough {
        let why = "io=passthrough needs CAP_SYS_ADMIN in the initial user namespace and Linux 6.9; leave it out, or use io=cached";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(possible)
}
