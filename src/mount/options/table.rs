//! The table of options: what each name does.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::Options;
use super::split::RawValue;
use super::value::{self, Fault};
use crate::fuse::session::Access;
use crate::sys::mount::MountFlags;

/// What an option does.
pub(super) enum Effect {
    /// Stands alone.
    Flag(fn(&mut Options)),
    /// Takes a value.
    Value(fn(&mut Options, &OsStr) -> Result<(), Fault>),
    /// Takes a value whose escapes matter.
    Raw(fn(&mut Options, RawValue<'_>)),
    /// Sets and clears flags of mount(2).
    Mount { set: MountFlags, clear: MountFlags },
    /// Means something to other programs only, or asks for what is done anyway; with or without a value.
    Accepted,
    /// Cannot be had; the user is told.
    Unsupported,
}

use Effect::{Accepted, Flag, Mount, Raw, Unsupported, Value};

const NONE: MountFlags = MountFlags::empty();

/// An option that sets flags of mount(2).
const fn set(flags: MountFlags) -> Effect {
    Mount { set: flags, clear: NONE }
}

/// An option that clears flags of mount(2).
const fn clear(flags: MountFlags) -> Effect {
    Mount { set: NONE, clear: flags }
}

/// Every option by name. A name may stand twice: alone, and with a value.
pub(super) static TABLE: &[(&str, Effect)] = &[
    // The layers.
    ("lowerdir", Raw(|o, v| o.overlay.lowers = v.paths())),
    ("lowerdir+", Value(append_lower)),
    ("upperdir", Value(|o, v| path(&mut o.overlay.upper, v))),
    ("workdir", Value(|o, v| path(&mut o.overlay.work, v))),
    // The engine.
    ("redirect_dir", Value(|o, v| store(&mut o.overlay.redirect_dir, value::redirect_dir(v)))),
    ("index", Value(|o, v| store(&mut o.overlay.index, value::switch(v)))),
    ("metacopy", Value(|o, v| store(&mut o.overlay.metacopy, value::switch(v)))),
    ("volatile", Flag(|o| o.overlay.volatile = true)),
    ("fsync", Value(fsync)),
    ("sync", Value(fsync)),
    ("acl", Flag(|o| set_acl(o, true))),
    ("noacl", Flag(|o| set_acl(o, false))),
    ("noxattrs", Value(no_xattrs)),
    ("uidmapping", Value(|o, v| store(&mut o.overlay.uid_map, value::id_map(v)))),
    ("gidmapping", Value(|o, v| store(&mut o.overlay.gid_map, value::id_map(v)))),
    ("squash_to_root", Flag(squash_to_root)),
    ("squash_to_uid", Value(|o, v| store(&mut o.overlay.squash_uid, value::id(v).map(Some)))),
    ("squash_to_gid", Value(|o, v| store(&mut o.overlay.squash_gid, value::id(v).map(Some)))),
    ("xattr_permissions", Value(|o, v| store(&mut o.overlay.xattr_permissions, value::xattr_permissions(v)))),
    ("static_nlink", Flag(|o| o.overlay.static_nlink = true)),
    ("userxattr", Flag(|o| o.overlay.user_xattr = true)),
    // The adapter.
    ("timeout", Value(|o, v| store(&mut o.service.timeout, value::timeout(v)))),
    ("busy_poll", Value(|o, v| store(&mut o.service.busy_poll, value::microseconds(v).map(Some)))),
    ("threads", Value(|o, v| store(&mut o.service.threads, value::threads(v).map(Some)))),
    ("threaded", Value(threaded)),
    ("io", Value(|o, v| store(&mut o.service.io, value::io_mode(v)))),
    // The mount.
    (
        "fsname",
        Value(|o, v| {
            o.source = Some(v.to_owned());
            Ok(())
        }),
    ),
    ("subtype", Value(subtype)),
    ("context", Value(|o, v| label(o, "context", v))),
    ("fscontext", Value(|o, v| label(o, "fscontext", v))),
    ("defcontext", Value(|o, v| label(o, "defcontext", v))),
    ("rootcontext", Value(|o, v| label(o, "rootcontext", v))),
    ("allow_other", Flag(|o| o.session.access = Access::All)),
    ("allow_root", Flag(|o| o.session.access = Access::RootAndOwner)),
    ("auto_unmount", Flag(|o| o.auto_unmount = true)),
    ("noauto_unmount", Flag(|o| o.auto_unmount = false)),
    ("remount", Flag(|o| o.remount = true)),
    ("debug", Flag(|o| o.debug = true)),
    ("ro", set(MountFlags::RDONLY)),
    ("rw", clear(MountFlags::RDONLY)),
    ("nodev", set(MountFlags::NODEV)),
    ("dev", clear(MountFlags::NODEV)),
    ("nosuid", set(MountFlags::NOSUID)),
    ("suid", clear(MountFlags::NOSUID)),
    ("noexec", set(MountFlags::NOEXEC)),
    ("exec", clear(MountFlags::NOEXEC)),
    ("nosymfollow", set(MountFlags::NOSYMFOLLOW)),
    ("symfollow", clear(MountFlags::NOSYMFOLLOW)),
    ("noatime", Mount { set: MountFlags::NOATIME, clear: STRICT_OR_RELATIVE }),
    ("atime", clear(MountFlags::NOATIME)),
    ("relatime", Mount { set: MountFlags::RELATIME, clear: NOATIME_OR_STRICT }),
    ("norelatime", clear(MountFlags::RELATIME)),
    ("strictatime", Mount { set: MountFlags::STRICTATIME, clear: NOATIME_OR_RELATIVE }),
    ("nostrictatime", clear(MountFlags::STRICTATIME)),
    ("nodiratime", set(MountFlags::NODIRATIME)),
    ("diratime", clear(MountFlags::NODIRATIME)),
    ("sync", set(MountFlags::SYNCHRONOUS)),
    ("async", clear(MountFlags::SYNCHRONOUS)),
    ("dirsync", set(MountFlags::DIRSYNC)),
    // Asks for what is done anyway, or tunes what needs no tuning here.
    ("default_permissions", Accepted),
    ("defaults", Accepted),
    ("nonempty", Accepted),
    ("xino", Accepted),
    ("clone_fd", Accepted),
    ("max_idle_threads", Accepted),
    ("max_threads", Accepted),
    ("max_read", Accepted),
    ("max_write", Accepted),
    ("big_writes", Accepted),
    ("blksize", Accepted),
    ("fast_ino", Accepted),
    ("fast_ino_check", Accepted),
    ("ino32_t", Accepted),
    ("writeback", Accepted),
    ("kernel_cache", Accepted),
    ("auto_cache", Accepted),
    ("splice_read", Accepted),
    ("splice_write", Accepted),
    ("splice_move", Accepted),
    // What mountinfo shows of a FUSE mount comes back on `mount -o remount`.
    ("fd", Accepted),
    ("rootmode", Accepted),
    ("user_id", Accepted),
    ("group_id", Accepted),
    // For mount(8), systemd and container engines.
    ("private", Accepted),
    ("rprivate", Accepted),
    ("shared", Accepted),
    ("rshared", Accepted),
    ("slave", Accepted),
    ("rslave", Accepted),
    ("unbindable", Accepted),
    ("runbindable", Accepted),
    ("bind", Accepted),
    ("rbind", Accepted),
    ("auto", Accepted),
    ("noauto", Accepted),
    ("nofail", Accepted),
    ("_netdev", Accepted),
    ("user", Accepted),
    ("nouser", Accepted),
    ("users", Accepted),
    ("owner", Accepted),
    ("group", Accepted),
    ("comment", Accepted),
    ("silent", Accepted),
    ("loud", Accepted),
    // Known from the peers, not to be had.
    ("plugins", Unsupported),
    ("noxattr", Unsupported),
    ("lazytime", Unsupported),
    ("nfs_export", Unsupported),
    ("verity", Unsupported),
    ("datadir+", Unsupported),
    ("entry_timeout", Unsupported),
    ("attr_timeout", Unsupported),
    ("negative_timeout", Unsupported),
];

const STRICT_OR_RELATIVE: MountFlags = MountFlags::STRICTATIME.union(MountFlags::RELATIME);
const NOATIME_OR_STRICT: MountFlags = MountFlags::NOATIME.union(MountFlags::STRICTATIME);
const NOATIME_OR_RELATIVE: MountFlags = MountFlags::NOATIME.union(MountFlags::RELATIME);

/// What the option `name` does, in the form that has a value or in the one that has none.
pub(super) fn find(name: &[u8], has_value: HasValue) -> Found {
    if name.starts_with(b"x-") || name.starts_with(b"X-") {
        return Found::Effect(&Accepted);
    }
    let mut rows =
        TABLE.iter().filter(|(known, _)| known.as_bytes() == name).map(|(_, effect)| effect).peekable();
    if rows.peek().is_none() {
        return Found::Unknown;
    }
    rows.find(|effect| effect.takes(has_value)).map_or(Found::WrongForm, Found::Effect)
}

/// Whether an option was written with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasValue {
    Yes,
    No,
}

/// What the table holds for an option.
pub(super) enum Found {
    Effect(&'static Effect),
    /// The name is known, but only with a value where it has none, or the other way round.
    WrongForm,
    Unknown,
}

impl Effect {
    fn takes(&self, has_value: HasValue) -> bool {
        match self {
            Flag(_) | Mount { .. } => has_value == HasValue::No,
            Value(_) | Raw(_) => has_value == HasValue::Yes,
            Accepted | Unsupported => true,
        }
    }
}

fn store<T>(place: &mut T, value: Result<T, Fault>) -> Result<(), Fault> {
    *place = value?;
    Ok(())
}

fn path(place: &mut Option<PathBuf>, value: &OsStr) -> Result<(), Fault> {
    if value.is_empty() {
        return Err(Fault("expected a directory".to_owned()));
    }
    *place = Some(PathBuf::from(value));
    Ok(())
}

fn append_lower(options: &mut Options, value: &OsStr) -> Result<(), Fault> {
    if !value.is_empty() {
        options.overlay.lowers.push(PathBuf::from(value));
    }
    Ok(())
}

fn fsync(options: &mut Options, value: &OsStr) -> Result<(), Fault> {
    options.overlay.volatile = !value::switch(value)?;
    Ok(())
}

/// `noxattrs=1`: extended attributes are refused, and with them ACLs.
fn no_xattrs(options: &mut Options, value: &OsStr) -> Result<(), Fault> {
    options.service.xattrs = !value::switch(value)?;
    if !options.service.xattrs {
        set_acl(options, false);
    }
    Ok(())
}

fn set_acl(options: &mut Options, acl: bool) {
    options.overlay.acl = acl;
    options.service.acl = acl;
}

fn squash_to_root(options: &mut Options) {
    options.overlay.squash_uid = Some(0);
    options.overlay.squash_gid = Some(0);
}

fn threaded(options: &mut Options, value: &OsStr) -> Result<(), Fault> {
    options.service.threads = if value::switch(value)? { None } else { Some(1) };
    Ok(())
}

fn subtype(options: &mut Options, value: &OsStr) -> Result<(), Fault> {
    options.session.subtype = value.to_owned();
    Ok(())
}

fn label(options: &mut Options, name: &str, value: &OsStr) -> Result<(), Fault> {
    let mut label = OsString::from(name);
    label.push("=\"");
    label.push(value);
    label.push("\"");
    options.session.labels.push(label);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice_in_one_form() {
        for (index, (name, effect)) in TABLE.iter().enumerate() {
            for (other, other_effect) in &TABLE[..index] {
                let clash = |form| effect.takes(form) && other_effect.takes(form);
                assert!(name != other || !(clash(HasValue::Yes) || clash(HasValue::No)), "{name}");
            }
        }
    }

    #[test]
    fn the_manual_names_every_option() {
        let manual = include_str!("../../../docs/man/plyfs-mount.8").replace("\\-", "-");
        for (name, _) in TABLE {
            assert!(manual.contains(name), "docs/man/plyfs-mount.8 does not mention {name}");
        }
    }
}
