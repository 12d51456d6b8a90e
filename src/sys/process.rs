//! Processes: daemonising, signals, capabilities, limits.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
pub use rustix::process::{
    Pid, Resource, WaitOptions, WaitStatus, getgid, getgroups, getpid, getrlimit, getuid, setrlimit, setsid,
    wait, waitpid,
};
pub use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
pub use rustix::thread::{CapabilitySet, capabilities};

/// The numbers of signals.
pub mod signal {
    pub use libc::{
        SIGCHLD as CHLD, SIGHUP as HUP, SIGINT as INT, SIGKILL as KILL, SIGQUIT as QUIT, SIGTERM as TERM,
        SIGUSR1 as USR1, SIGUSR2 as USR2, SIGWINCH as WINCH,
    };
}

/// Whether the calling thread has `CAP_SYS_ADMIN` in the *initial* user namespace, as FUSE passthrough asks.
///
/// The initial namespace is recognised by its identity mapping of all 2³² ids.
pub fn is_initial_admin() -> bool {
    has_capability(CapabilitySet::SYS_ADMIN) && in_initial_user_namespace()
}

/// Whether the effective set holds `capability` (in the current user namespace).
pub fn has_capability(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Whether this process's user namespace maps every id to itself.
pub fn in_initial_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Raises the soft limit of open files to the hard one; returns the limit that holds.
pub fn raise_nofile_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(e) = setrlimit(Resource::Nofile, limit) {
            log::debug!("raising the limit of open files: {e}");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Tells the kernel that this thread, and those it starts from now on, serve a file system: memory that they ask for is not got
/// by waiting for that very file system (`PR_SET_IO_FLUSHER`).
///
/// # Errors
/// `EPERM` without CAP_SYS_RESOURCE, `EINVAL` before Linux 5.6.
pub fn set_io_flusher() -> super::Result<()> {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    // SAFETY: it takes no pointers.
    let ret = unsafe { libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) };
    super::check(libc::c_long::from(ret)).map(drop)
}

/// Has large blocks mapped by themselves, whatever was freed before: the allocator would take them from its heap instead, and
/// clear pages of that which nobody uses.
pub fn map_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 1 << 20;
        // SAFETY: it changes a number of the allocator's, under its own locks.
        if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) } == 0 {
            log::debug!("the allocator keeps its own threshold");
        }
    }
}

/// Gives heap that is free, in whatever thread's arena, back to the system; glibc keeps it otherwise.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim touches only memory that is free, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What [`fork`] returned in each of the two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The calling process, told the child's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// `fork`. Must be called while the process has one thread only.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the caller has a single thread, so the child inherits no lock held by another thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Closes every descriptor above 2 that came into this process through `exec`.
///
/// They are recognised by the missing close-on-exec flag, which nothing opened by this program lacks.
pub fn close_inherited() -> io::Result<()> {
    for fd in open_descriptors()? {
        // SAFETY: F_GETFD takes no pointer; an invalid number gives EBADF.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if fd > libc::STDERR_FILENO && flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: no value of this program owns a descriptor without the close-on-exec flag.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// Keeps every descriptor above 2 out of the programs that are executed from now on, also those that came into this
/// process through `exec`.
pub fn keep_descriptors() -> io::Result<()> {
    for fd in open_descriptors()? {
        if fd > libc::STDERR_FILENO {
            // SAFETY: F_SETFD takes no pointer; a number that is closed meanwhile gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Closes every descriptor above 2 but `kept`. For a process that only just was forked, will use nothing
/// but `kept`, and ends without returning to code that owns descriptors.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    for fd in open_descriptors()? {
        if fd > libc::STDERR_FILENO && fd != kept.as_raw_fd() {
            // SAFETY: the caller's contract: nothing in this process uses or drops another descriptor.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// The numbers of the open descriptors, as /proc lists them.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let mut fds = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            fds.push(fd);
        }
    }
    Ok(fds)
}

/// Points standard input, output and error at `fd`.
pub fn redirect_stdio(fd: impl AsFd) -> io::Result<()> {
    dup2_stdin(&fd)?;
    dup2_stdout(&fd)?;
    Ok(dup2_stderr(&fd)?)
}

/// Ends the process at once, without the handlers that `exit` runs.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(status) }
}

/// Blocks `signals` in the calling thread and all threads it starts later.
pub fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised signal set.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        e => Err(io::Error::from_raw_os_error(e)),
    }
}

/// Lets `signals` through to the calling thread again.
pub fn unblock_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised signal set.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        e => Err(io::Error::from_raw_os_error(e)),
    }
}

/// Waits for one of `signals`, which must be blocked in every thread, and returns it.
pub fn wait_signal(signals: &[i32]) -> io::Result<i32> {
    let set = signal_set(signals);
    let mut signal = 0;
    // SAFETY: `set` is an initialised signal set and `signal` a place for the result.
    match unsafe { libc::sigwait(&set, &mut signal) } {
        0 => Ok(signal),
        e => Err(io::Error::from_raw_os_error(e)),
    }
}

/// A signal that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// Who sent it.
    pub sender: Sender,
}

/// Who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A process, to this one.
    Process,
    /// The kernel: a terminal's to its whole foreground group, a child's end.
    Kernel,
}

/// Waits for one of `signals`, which must be blocked in every thread, `timeout` at most; `None` when that has passed.
pub fn wait_signal_for(signals: &[i32], timeout: Duration) -> io::Result<Option<Signal>> {
    let set = signal_set(signals);
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    };
    // SAFETY: a `siginfo_t` is plain numbers, for which zeroes are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: an initialised signal set, a place for the result, a complete `timespec`.
    match unsafe { libc::sigtimedwait(&set, &mut info, &timeout) } {
        -1 => match io::Error::last_os_error() {
            e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(None),
            e => Err(e),
        },
        number => {
            let sender = if info.si_code > 0 { Sender::Kernel } else { Sender::Process };
            Ok(Some(Signal { number, sender }))
        }
    }
}

/// Makes `command` start with no signal blocked, whatever this process blocks.
pub fn unblock_signals_in(command: &mut Command) {
    let none = signal_set(&[]);
    // SAFETY: between fork and exec only sigprocmask is called, which may be called there.
    unsafe {
        command.pre_exec(move || match libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// Makes `command` start in a mount namespace of its own, where an empty file system in memory covers the directory
/// `dir`. Mounts made and taken away outside show there, none made there shows outside.
///
/// Where that is refused, starting fails with the system's error.
pub fn cover_in(command: &mut Command, dir: PathBuf) {
    // As the kernel takes it: the closure must not allocate.
    let dir = CString::new(dir.into_os_string().into_vec()).unwrap_or_default();
    let cover = move || {
        // SAFETY: unshare takes no pointers; the process was only just forked and has one thread.
        super::check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))?;
        mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        mount(c"none", dir.as_c_str(), c"tmpfs", MountFlags::empty(), c"size=64k")?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; the paths are there already, nothing is allocated.
    unsafe { command.pre_exec(cover) };
}

/// `kill`.
///
/// # Errors
/// `ESRCH` where there is no such process, `EPERM`, `EINVAL`.
pub fn kill(pid: i32, signal: i32) -> super::Result<()> {
    // SAFETY: kill takes no pointers.
    super::check(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Has the calling process sent TERM when the thread that made it ends (`PR_SET_PDEATHSIG`). What it forks is not.
///
/// # Errors
/// None that the kernel tells of.
pub fn signal_at_parents_end() -> super::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
}

/// Makes the calling process the parent of what its descendants leave behind (`PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// None that the kernel tells of.
pub fn adopt_orphans() -> super::Result<()> {
    rustix::process::set_child_subreaper(Some(getpid()))
}

/// A child that ended, whichever it is, and how; `None` while all run. Those adopted ([`adopt_orphans`]) are children too.
///
/// # Errors
/// `ECHILD` where there is none.
pub fn reap() -> super::Result<Option<(i32, ExitStatus)>> {
    let ended = wait(WaitOptions::NOHANG)?;
    Ok(ended.map(|(pid, status)| (pid.as_raw_nonzero().get(), ExitStatus::from_raw(status.as_raw()))))
}

/// Moves the calling process, which must have one thread, into a new user namespace, where it may do everything, and a
/// new mount namespace. Its ids are mapped to nothing yet.
///
/// # Errors
/// `EPERM` or `ENOSPC` where the system forbids it.
pub fn unshare_user_and_mounts() -> super::Result<()> {
    // SAFETY: unshare takes no pointers; memory and descriptors stay as they are.
    super::check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }))
        .map(drop)
}

/// `setns`: moves the calling process, which must have one thread, into a namespace of the given kind.
///
/// # Errors
/// `EPERM`, `EINVAL` for the namespace that it is in already.
pub fn join_namespace(namespace: BorrowedFd<'_>, kind: Namespace) -> super::Result<()> {
    let kind = match kind {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
    };
    // SAFETY: setns takes no pointers, and the descriptor is borrowed for the call.
    super::check(libc::c_long::from(unsafe { libc::setns(namespace.as_raw_fd(), kind) })).map(drop)
}

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Of users and privileges.
    User,
    /// Of mounts.
    Mount,
}

/// A signal set of the given signals.
fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the zeroed set; sigaddset takes an initialised one.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}
