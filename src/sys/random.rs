//! Random bytes of the kernel.

use super::{Errno, Result, check};

/// `getrandom`: fills `buf`, waiting for the kernel's generator to be ready (early in boot only).
pub fn getrandom(buf: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: a buffer of `rest.len()` writable bytes.
        match check(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) } as libc::c_long) {
            Ok(n) => filled += n as usize,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
