//! The daemon's control socket: a client that must see the union at rest pauses it, see [`super::pause`].
//!
//! One exchange a connection, in lines: `pause`, answered by `paused` once no change is under way any more and none
//! can begin; then `resume`, answered by `resumed`, or by `ended` where the mount was being taken away meanwhile. A
//! connection that closes resumes, so a client that is killed leaves nothing paused. Anything else, and whoever is
//! neither this process's user nor root, is answered by `refused` and why.
//!
//! The path of a container may be longer than the address of a socket, so names are reached below a descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::fuse::{Gate, Shut};
use crate::sys::Errno;
use crate::sys::fs::{self, AtFlags, CWD, Mode, O_DIRPATH, RenameFlags};
use crate::sys::socket::peer_uid;

/// What a client asks for, and what it is told.
pub(super) const PAUSE: &str = "pause";
pub(super) const PAUSED: &str = "paused";
pub(super) const RESUME: &str = "resume";
pub(super) const RESUMED: &str = "resumed";
const ENDED: &str = "ended";
const REFUSED: &str = "refused";

/// The longest line that means anything.
pub(super) const LONGEST_LINE: u64 = 256;

/// How often a client is looked after while changes under way are waited for.
const LOOK: Duration = Duration::from_millis(50);

/// How long to wait when no connection can be taken, for want of descriptors say.
const BACK_OFF: Duration = Duration::from_millis(200);

/// A directory, and the name of a socket in it.
#[derive(Debug)]
pub(super) struct Address {
    dir: OwnedFd,
    name: OsString,
}

impl Address {
    /// Opens the directory of `path`.
    pub fn open(path: &Path) -> io::Result<Address> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dir = fs::openat(CWD, parent.unwrap_or(Path::new(".")), O_DIRPATH, Mode::empty())?;
        Ok(Address { dir, name })
    }

    /// A short path to the socket.
    pub fn path(&self) -> PathBuf {
        self.path_of(&self.name)
    }

    fn path_of(&self, name: &OsStr) -> PathBuf {
        Path::new(&fs::proc_fd_path(self.dir.as_fd())).join(name)
    }

    /// Device and inode of what has the name now.
    fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = fs::lstatat(&self.dir, &self.name)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// A socket that is listened at.
#[derive(Debug)]
pub(super) struct Control {
    address: Address,
    identity: (u64, u64),
}

impl Control {
    /// Listens at `path`, for this user only, on a thread of its own. A socket that another daemon left there is
    /// replaced; whoever connects finds the old one or the new one.
    pub fn listen(path: &Path, gate: Gate) -> io::Result<Control> {
        let address = Address::open(path)?;
        let mut new = address.name.clone();
        new.push(".new");
        address.remove(&new)?;
        let listener = UnixListener::bind(address.path_of(&new))?;
        std::fs::set_permissions(address.path_of(&new), Permissions::from_mode(0o600))?;
        fs::renameat_with(&address.dir, &new, &address.dir, &address.name, RenameFlags::empty())?;
        let identity = address.identity()?;
        thread::Builder::new().name("plyfs-control".to_owned()).spawn(move || accept(&listener, &gate))?;
        Ok(Control { address, identity })
    }

    /// Takes the socket away, unless it is another daemon's by now.
    pub fn remove(self) {
        let removed = self.address.identity().and_then(|found| {
            if found == self.identity { self.address.remove(&self.address.name) } else { Ok(()) }
        });
        if let Err(e) = removed
            && e.kind() != io::ErrorKind::NotFound
        {
            log::debug!("removing the control socket: {e}");
        }
    }
}

/// Takes connections for as long as the process lives.
fn accept(listener: &UnixListener, gate: &Gate) {
    loop {
        let started = listener.accept().and_then(|(client, _)| {
            let gate = gate.clone();
            thread::Builder::new().name("plyfs-client".to_owned()).spawn(move || serve_client(client, &gate))
        });
        if let Err(e) = started {
            log::warn!("no connection to the control socket: {e}");
            thread::sleep(BACK_OFF);
        }
    }
}

fn serve_client(client: UnixStream, gate: &Gate) {
    if let Err(e) = peer_uid(client.as_fd()).map_err(io::Error::from).and_then(|uid| serve(client, uid, gate))
    {
        log::debug!("a client of the control socket: {e}");
    }
}

/// Serves one client, whose user is `uid`. What it holds is let go of when this returns.
fn serve(mut client: UnixStream, uid: u32, gate: &Gate) -> io::Result<()> {
    let request = read_line(&client)?;
    if uid != 0 && uid != fs::geteuid().as_raw() {
        return say(&mut client, &format!("{REFUSED}: the mount is another user's"));
    }
    if request != PAUSE {
        return say(&mut client, &format!("{REFUSED}: no such request"));
    }
    let Some(shut) = gate.shut() else {
        return say(&mut client, &format!("{REFUSED}: the mount is being taken away"));
    };
    if !drain(&shut, &mut client)? {
        return Ok(());
    }
    say(&mut client, PAUSED)?;
    if read_line(&client)? != RESUME {
        return Ok(());
    }
    let held = shut.is_held();
    drop(shut);
    say(&mut client, if held { RESUMED } else { ENDED })
}

/// Waits until no change is under way; whether the client is still there.
fn drain(shut: &Shut, client: &mut UnixStream) -> io::Result<bool> {
    client.set_nonblocking(true)?;
    while !shut.is_drained(LOOK) {
        match client.read(&mut [0]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // The client has nothing to say yet, and means nothing good if it does.
            Ok(_) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    client.set_nonblocking(false)?;
    Ok(true)
}

pub(super) fn say(client: &mut UnixStream, line: &str) -> io::Result<()> {
    client.write_all(format!("{line}\n").as_bytes())
}

/// The next line without its end; empty where there is none. The peer is to wait for an answer after each.
pub(super) fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client of user `uid` is told when it says `said` and then falls silent.
    fn told(uid: u32, said: &str, gate: &Gate) -> String {
        let (mut client, server) = UnixStream::pair().expect("a pair");
        client.write_all(said.as_bytes()).expect("room");
        client.shutdown(std::net::Shutdown::Write).expect("open");
        serve(server, uid, gate).expect("served");
        read_line(&client).expect("text")
    }

    fn me() -> u32 {
        fs::geteuid().as_raw()
    }

    #[test]
    fn this_user_and_root_may_pause() {
        let gate = Gate::default();
        assert_eq!(told(me(), "pause\n", &gate), PAUSED);
        assert_eq!(told(0, "pause\n", &gate), PAUSED);
    }

    #[test]
    fn others_are_refused() {
        let gate = Gate::default();
        assert_eq!(told(me() + 1, "pause\n", &gate), "refused: the mount is another user's");
    }

    #[test]
    fn nonsense_is_refused() {
        let gate = Gate::default();
        for said in ["", "\n", "pausen", &"x".repeat(1000)] {
            assert_eq!(told(me(), said, &gate), "refused: no such request", "{said:?}");
        }
    }

    #[test]
    fn nobody_pauses_a_mount_that_goes_away() {
        let gate = Gate::default();
        gate.open_for_good();
        assert_eq!(told(me(), "pause\n", &gate), "refused: the mount is being taken away");
    }

    #[test]
    fn a_client_learns_whether_the_pause_held() {
        for (end, expected) in [(false, RESUMED), (true, ENDED)] {
            let gate = Gate::default();
            let (mut client, server) = UnixStream::pair().expect("a pair");
            thread::scope(|scope| {
                scope.spawn(|| serve(server, me(), &gate).expect("served"));
                say(&mut client, PAUSE).expect("said");
                assert_eq!(read_line(&client).expect("answered"), PAUSED);
                if end {
                    gate.open_for_good();
                }
                say(&mut client, RESUME).expect("said");
                assert_eq!(read_line(&client).expect("answered"), expected);
            });
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_new_one_not_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        // Longer than the address of a socket can be.
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).expect("made");
        let path = deep.join("control.sock");
        let first = Control::listen(&path, Gate::default()).expect("listening");
        let second = Control::listen(&path, Gate::default()).expect("listening again");
        first.remove();
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        crate::mount::Pause::begin(&path).expect("paused").end().expect("resumed");
        second.remove();
        assert_eq!(std::fs::read_dir(&deep).expect("listed").count(), 0);
        assert!(matches!(
            crate::mount::Pause::begin(&path),
            Err(crate::mount::PauseError::Unreachable { .. })
        ));
    }
}
