//! Unix sockets: what std lacks.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Result;

/// The most bytes that come with a descriptor: a path, as OCI runtimes send it.
const BESIDE_MAX: usize = 4096;

/// The user id of the process that connected the socket (`SO_PEERCRED`), as this process's user namespace shows it.
pub fn peer_uid(socket: BorrowedFd<'_>) -> Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Takes the descriptor that the next message brings (`SCM_RIGHTS`), and drops the bytes beside it; `None` where it brings
/// none.
pub fn receive_descriptor(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let mut bytes = [0; BESIDE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut beside = [IoSliceMut::new(&mut bytes)];
    recvmsg(socket, &mut beside, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{IoSlice, Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn a_descriptor_travels_with_a_message() {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let descriptors = [reader.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let beside = [IoSlice::new(b"/dev/pts/7")];
        sendmsg(&theirs, &beside, &mut ancillary, SendFlags::empty()).expect("sent");
        drop(reader);
        let got = receive_descriptor(ours.as_fd()).expect("received").expect("a descriptor");
        writer.write_all(b"content").expect("written");
        drop(writer);
        let mut text = String::new();
        File::from(got).read_to_string(&mut text).expect("read");
        assert_eq!(text, "content");
        theirs.write_all(b"no descriptor").expect("written");
        assert!(receive_descriptor(ours.as_fd()).expect("received").is_none());
    }
}
