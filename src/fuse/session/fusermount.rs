//! Mounting and unmounting through fusermount3, the set-user-id program of libfuse.
//!
//! It mounts at our request and sends the FUSE device back over a socket, whose number it reads from the
//! environment variable `_FUSE_COMMFD`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::attach::Attached;
use super::{Access, Permissions, SessionOptions};
use crate::sys::mount::{MountFlags, receive_descriptor};

/// Where the program may be, first choice first.
const PROGRAMS: &[&str] = &["fusermount3", "fusermount", "/usr/bin/fusermount3", "/usr/bin/fusermount"];

/// The flags of mount(2) that fusermount3 knows by name. It sets `nosuid` and `nodev` for users itself.
const FLAGS: &[(MountFlags, &str)] = &[
    (MountFlags::RDONLY, "ro"),
    (MountFlags::NODEV, "nodev"),
    (MountFlags::NOSUID, "nosuid"),
    (MountFlags::NOEXEC, "noexec"),
    (MountFlags::NOATIME, "noatime"),
    (MountFlags::SYNCHRONOUS, "sync"),
    (MountFlags::DIRSYNC, "dirsync"),
];

/// Whether a file system in use is detached all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lazy {
    /// Take it out of the tree now; it ends when its last user lets go.
    Yes,
    /// Fail with "busy".
    No,
}

/// Mounts at `mountpoint`.
pub(super) fn attach(mountpoint: &Path, options: &SessionOptions) -> io::Result<Attached> {
    let access = permitted_access(options.access);
    let (ours, theirs) = UnixStream::pair()?;
    let child = spawn(|command| {
        // The socket goes in as standard input, so no descriptor has to be inherited beside the usual three.
        command.stdin(OwnedFd::from(theirs.try_clone()?)).env("_FUSE_COMMFD", "0");
        command.arg("-o").arg(mount_options(options, access)).arg("--").arg(mountpoint);
        Ok(())
    })?;
    // Or the end of a failed fusermount3 would not be seen below.
    drop(theirs);
    let device = receive_descriptor(ours.as_fd());
    let output = child.wait_with_output()?;
    match device {
        Ok(Some(device)) if output.status.success() => Ok(Attached { device, access }),
        _ => Err(failure(&output, format!("cannot mount at {}", mountpoint.display()))),
    }
}

/// Unmounts `mountpoint`.
///
/// # Errors
/// The program is not there, or says why it failed.
pub fn unmount(mountpoint: &Path, lazy: Lazy) -> io::Result<()> {
    let child = spawn(|command| {
        command.stdin(Stdio::null()).arg("-u").args((lazy == Lazy::Yes).then_some("-z"));
        command.arg("--").arg(mountpoint);
        Ok(())
    })?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(failure(&output, format!("cannot unmount {}", mountpoint.display())))
}

/// Starts the first of [`PROGRAMS`] that is there.
fn spawn(prepare: impl Fn(&mut Command) -> io::Result<()>) -> io::Result<Child> {
    for program in PROGRAMS {
        let mut command = Command::new(program);
        prepare(&mut command)?;
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    let message = "neither mount(2) nor fusermount3 can be used: become root, enter a user namespace (unshare -rm), or install fuse3";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn failure(output: &Output, what: String) -> io::Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() };
    io::Error::other(format!("{what}: {reason}"))
}

/// What fusermount3 will grant of `wanted`: letting others in needs a line in /etc/fuse.conf.
fn permitted_access(wanted: Access) -> Access {
    if wanted == Access::Default || may_allow_other() {
        return wanted;
    }
    log::warn!("allow_other is left out: /etc/fuse.conf has no line user_allow_other");
    Access::Default
}

fn may_allow_other() -> bool {
    std::fs::read_to_string("/etc/fuse.conf")
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "user_allow_other"))
}

/// The option string for fusermount3. SELinux labels are not among the options it takes.
fn mount_options(options: &SessionOptions, access: Access) -> OsString {
    let unchecked = options.permissions == Permissions::OwnerIsRoot && access == Access::Default;
    let mut text = OsString::from(if unchecked { "fsname=" } else { "default_permissions,fsname=" });
    text.push(escape_commas(&options.source));
    text.push(",subtype=");
    text.push(escape_commas(&options.subtype));
    if access != Access::Default {
        text.push(",allow_other");
    }
    for (_, name) in FLAGS.iter().filter(|(flag, _)| options.flags.contains(*flag)) {
        text.push(",");
        text.push(name);
    }
    text
}

fn escape_commas(text: &OsStr) -> OsString {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    OsString::from_vec(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_spelled_as_fusermount_reads_them() {
        let options = SessionOptions {
            source: OsString::from("a,b"),
            flags: MountFlags::RDONLY | MountFlags::NOSUID,
            labels: vec![OsString::from("context=\"x\"")],
            ..SessionOptions::default()
        };
        assert_eq!(
            mount_options(&options, Access::Default),
            "default_permissions,fsname=a\\,b,subtype=plyfs,ro,nosuid"
        );
        assert!(mount_options(&options, Access::All).to_str().unwrap().contains(",allow_other,"));
        let options = SessionOptions { permissions: Permissions::OwnerIsRoot, ..options };
        assert!(mount_options(&options, Access::Default).to_str().unwrap().starts_with("fsname="));
        assert!(mount_options(&options, Access::All).to_str().unwrap().starts_with("default_permissions,"));
    }
}
