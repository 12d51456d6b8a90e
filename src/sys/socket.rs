//! Unix sockets: what std lacks.

use std::os::fd::BorrowedFd;

use super::Result;

/// The user id of the process that connected the socket (`SO_PEERCRED`), as this process's user namespace shows it.
pub fn peer_uid(socket: BorrowedFd<'_>) -> Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}
