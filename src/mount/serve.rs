//! From options to a served mount: open the layers, mount, serve until the mount is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::control::Control;
use super::daemon::{self, LaunchError, Outcome, Ready};
use super::mountinfo;
use super::options::Options;
use super::unmount::{Mounted, resolve};
use super::watch::Watcher;
use crate::fuse::session::Session;
use crate::fuse::{Gate, Service};
use crate::overlay::{OpenError, Overlay};
use crate::sys::Errno;
use crate::sys::fs::clear_umask;
use crate::sys::process::{block_signals, raise_nofile_limit, set_io_flusher, signal, wait_signal};

/// The signals that ask for the mount to be taken away.
const SIGNALS: &[i32] = &[signal::TERM, signal::INT, signal::HUP];

/// How long those who still hold files of a detached mount are served after a signal.
const BUSY_GRACE: Duration = Duration::from_secs(5);

/// Where the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// In a process of its own; the caller's goes on when the mount is live.
    Daemon,
    /// In the caller's process, until the mount is gone.
    Foreground,
}

/// Why there is no mount, or no more.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount point cannot be used.
    #[error("cannot use the mount point {path}: {reason}; it must be a directory that can be reached")]
    MountPoint {
        /// The path as given.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The layers make no union.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kernel refused the mount.
    #[error("{0}")]
    Mount(io::Error),
    /// The process could not be set up for serving.
    #[error("cannot set up the daemon: {0}")]
    SetUp(io::Error),
    /// The connection to the kernel broke.
    #[error("serving {mountpoint} ended unexpectedly: {reason}; the mount was taken away")]
    Broken {
        /// The mount point.
        mountpoint: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The daemon reported a failure.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// Mounts what `options` (after [`Options::finish`]) describe at `target`. The process must have one thread
/// only.
///
/// # Errors
/// What kept the mount from being made; with [`Attachment::Foreground`] also what ended it.
pub fn mount(options: Options, target: &Path, attachment: Attachment) -> Result<Outcome, MountError> {
    match attachment {
        Attachment::Foreground => serve(options, target, Ready::foreground()).map(|()| Outcome::Served),
        Attachment::Daemon => Ok(daemon::launch(|ready| serve(options, target, ready))?),
    }
}

/// Mounts and serves in this process. Returns when the mount is gone.
fn serve(options: Options, target: &Path, ready: Ready) -> Result<(), MountError> {
    // Before any other thread exists, so that only the signal thread takes them.
    block_signals(SIGNALS).map_err(MountError::SetUp)?;
    let mountpoint = usable_mountpoint(target)
        .map_err(|reason| MountError::MountPoint { path: target.to_owned(), reason })?;
    let watcher = options.auto_unmount.then(|| Watcher::start(&mountpoint));
    let watcher = watcher.transpose().map_err(MountError::SetUp)?;
    raise_nofile_limit();
    clear_umask();

    let mut config = options.overlay;
    config.mountpoint = Some(mountpoint.clone());
    let overlay = Overlay::open(config)?;
    let service = Service::new(overlay, options.service);
    let gate = service.gate();
    let session = Session::mount(service, &mountpoint, &options.session).map_err(MountError::Mount)?;

    let mounted = Mounted::locate(&mountpoint);
    LiveMount { mounted, mountpoint, watcher, gate, control: options.control }.serve(session, ready)
}

/// The absolute path of the mount point. Mounts there whose daemon died are taken away first.
fn usable_mountpoint(target: &Path) -> io::Result<PathBuf> {
    let path = resolve(target)?;
    while let Err(e) = path.metadata() {
        if Errno::from_io_error(&e) != Some(Errno::NOTCONN) {
            return Err(e);
        }
        let entries = mountinfo::read()?;
        let dead = mountinfo::topmost(&entries, &path).filter(|entry| entry.is_fuse()).ok_or(e)?;
        log::warn!("taking away the mount at {}, whose daemon is gone", path.display());
        Mounted::known(&path, dead.device).take_away()?;
    }
    Ok(path)
}

/// A mount that exists, until [`LiveMount::serve`] has taken it away.
struct LiveMount {
    mounted: Mounted,
    mountpoint: PathBuf,
    watcher: Option<Watcher>,
    gate: Gate,
    /// Where to listen.
    control: Option<PathBuf>,
}

/// What can happen to a live mount.
enum Event {
    /// Someone wants it gone.
    Signal(i32),
    /// The last user let go of it, or the connection broke.
    Ended(io::Result<()>),
}

impl LiveMount {
    /// Serves `session` until it ends or a signal asks for its end; never leaves the mount behind.
    fn serve(mut self, session: Session, ready: Ready) -> Result<(), MountError> {
        if let Some(watcher) = &mut self.watcher {
            watcher.guard(&self.mounted);
        }
        let mut control = None;
        let served = start_threads(session)
            .inspect(|_| control = self.listen())
            .and_then(|events| ready.announce().map(|()| events))
            .map_err(MountError::SetUp)
            .and_then(|events| self.follow(&events));
        // After a good end the mount is gone, and its device number may be another's already.
        if served.is_err() {
            self.take_away();
        }
        if let Some(control) = control {
            control.remove();
        }
        if let Some(watcher) = self.watcher {
            watcher.dismiss();
        }
        served
    }

    /// Listens at the control socket. The mount serves without one, too.
    fn listen(&self) -> Option<Control> {
        let path = self.control.as_deref()?;
        let control = Control::listen(path, self.gate.clone());
        control.inspect_err(|e| log::warn!("nobody can pause the mount: {}: {e}", path.display())).ok()
    }

    /// Waits for the end. Those who hold files of a mount that a signal detached are served for a while;
    /// a second signal cuts that short.
    fn follow(&self, events: &Receiver<Event>) -> Result<(), MountError> {
        let mut deadline: Option<Instant> = None;
        loop {
            match next_event(events, deadline) {
                Some(Event::Signal(signal)) if deadline.is_none() => {
                    log::info!("signal {signal}: unmounting {}", self.mountpoint.display());
                    self.gate.open_for_good();
                    if self.take_away() {
                        deadline = Some(Instant::now() + BUSY_GRACE);
                    }
                }
                Some(Event::Ended(Err(reason))) => {
                    return Err(MountError::Broken { mountpoint: self.mountpoint.clone(), reason });
                }
                Some(Event::Ended(Ok(())) | Event::Signal(_)) => return Ok(()),
                None => {
                    log::warn!("leaving {} although files of it are in use", self.mountpoint.display());
                    return Ok(());
                }
            }
        }
    }

    /// Whether the mount is gone now.
    fn take_away(&self) -> bool {
        let gone = self.mounted.take_away();
        gone.inspect_err(|e| log::error!("cannot unmount {}: {e}", self.mountpoint.display())).is_ok()
    }
}

/// The next event; `None` when the deadline has passed first.
fn next_event(events: &Receiver<Event>, deadline: Option<Instant>) -> Option<Event> {
    let Some(deadline) = deadline else {
        return Some(events.recv().unwrap_or_else(|_| Event::Ended(Err(lost_threads()))));
    };
    match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Event::Ended(Err(lost_threads()))),
    }
}

fn lost_threads() -> io::Error {
    io::Error::other("the serving threads are gone")
}

/// Starts serving, and listening for signals.
fn start_threads(session: Session) -> io::Result<Receiver<Event>> {
    if let Err(e) = set_io_flusher() {
        log::debug!("not known to the kernel as a server of files: {e}");
    }
    let (sender, events) = channel();
    let signals = sender.clone();
    thread::Builder::new().name("plyfs-signals".to_owned()).spawn(move || forward_signals(&signals))?;
    thread::Builder::new().name("plyfs-session".to_owned()).spawn(move || {
        let ended = session.run();
        // Nobody listens any more once the process is about to exit.
        sender.send(Event::Ended(ended)).unwrap_or_default();
    })?;
    Ok(events)
}

fn forward_signals(events: &Sender<Event>) {
    loop {
        match wait_signal(SIGNALS) {
            Ok(signal) if events.send(Event::Signal(signal)).is_ok() => {}
            Ok(_) => return,
            Err(e) => return log::error!("waiting for signals: {e}"),
        }
    }
}
