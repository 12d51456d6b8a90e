//! The options of a mount (`-o`), as `plyfs mount` and the mount helper take them. Pure: text in, data out.

mod split;
mod table;
mod value;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::fuse::session::{Permissions, SessionOptions};
use crate::fuse::{IoMode, ServiceOptions};
use crate::overlay::Config;
use crate::sys::mount::MountFlags;
use crate::sys::process::{getgid, getuid};

use split::{RawOption, split};
use table::{Effect, Found, HasValue};

/// What a mount is to be: every option with its value, or its default.
///
/// The defaults are those of the drop-in helper: `redirect_dir=on,index=on,metacopy=off`, ACLs on.
#[derive(Debug, Clone)]
pub struct Options {
    /// The union.
    pub overlay: Config,
    /// The FUSE adapter.
    pub service: ServiceOptions,
    /// The mount itself. Its source and flags are set by [`Options::finish`].
    pub session: SessionOptions,
    /// The name shown as the mount's source (`fsname=`), where one was given.
    pub source: Option<OsString>,
    /// The flags of mount(2) that were asked for.
    pub flags: FlagChange,
    /// Change the flags of the mount that is there (`remount`).
    pub remount: bool,
    /// Stay in the foreground and log (`debug`).
    pub debug: bool,
    /// Take the mount away should the daemon be killed (`noauto_unmount` turns it off).
    pub auto_unmount: bool,
    /// Where the daemon listens for those who want it to pause; no option of a mount. See [`super::pause`].
    pub control: Option<PathBuf>,
    /// What was ignored.
    pub warnings: Vec<Warning>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            overlay: Config { index: true, acl: true, ..Config::default() },
            service: ServiceOptions {
                io: IoMode::Auto,
                acl: true,
                xattrs: true,
                timeout: None,
                busy_poll: None,
                threads: None,
            },
            session: SessionOptions::default(),
            source: None,
            flags: FlagChange::default(),
            remount: false,
            debug: false,
            auto_unmount: true,
            control: None,
            warnings: Vec::new(),
        }
    }
}

/// Flags of mount(2) that were asked for, and ones that were asked not to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagChange {
    /// To be set.
    pub set: MountFlags,
    /// To be cleared.
    pub clear: MountFlags,
}

impl Default for FlagChange {
    fn default() -> Self {
        FlagChange { set: MountFlags::empty(), clear: MountFlags::empty() }
    }
}

impl FlagChange {
    /// Adds a later wish, which wins over the earlier ones.
    fn add(&mut self, set: MountFlags, clear: MountFlags) {
        self.set = self.set.difference(clear) | set;
        self.clear = self.clear.difference(set) | clear;
    }

    /// `flags` with the wishes fulfilled.
    pub fn apply(self, flags: MountFlags) -> MountFlags {
        flags.difference(self.clear) | self.set
    }
}

/// Something in the options that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// No such option is known.
    Unknown(String),
    /// The option is known from other programs but cannot be had here.
    Unsupported(String),
    /// A work directory is of no use without an upper one.
    WorkWithoutUpper,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unknown(option) => write!(f, "unknown option \"{option}\" ignored"),
            Warning::Unsupported(option) => write!(f, "option \"{option}\" is not supported and ignored"),
            Warning::WorkWithoutUpper => write!(f, "option \"workdir\" ignored: there is no upperdir"),
        }
    }
}

/// Why the options make no mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A value that the option does not take.
    #[error("bad value in option \"{option}\": {reason}")]
    BadValue {
        /// The option as written.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option that needs a value has none, or the other way round.
    #[error("option \"{0}\" {form}", form = if .0.contains('=') { "takes no value" } else { "needs a value (NAME=VALUE)" })]
    WrongForm(String),
    /// No lower layer.
    #[error("no lowerdir given: name the lower directories, top first (-o lowerdir=TOP:…:BOTTOM)")]
    NoLower,
    /// An upper directory that could not be written through.
    #[error(
        "upperdir {0} was given without a workdir: name an empty directory on the same file system (-o workdir=DIR), or mount read-only (-o ro)"
    )]
    UpperWithoutWork(String),
}

impl Options {
    /// Reads one option string over what was read before; later options win.
    ///
    /// # Errors
    /// The first value that does not fit. Unknown options are only noted in [`Options::warnings`].
    pub fn read(&mut self, text: &OsStr) -> Result<(), OptionError> {
        split(text.as_bytes()).into_iter().try_for_each(|option| self.read_one(option))
    }

    fn read_one(&mut self, option: RawOption<'_>) -> Result<(), OptionError> {
        let has_value = if option.value.is_some() { HasValue::Yes } else { HasValue::No };
        let effect = match table::find(option.name, has_value) {
            Found::Effect(effect) => effect,
            Found::WrongForm => return Err(OptionError::WrongForm(shown(option))),
            Found::Unknown => {
                self.warnings.push(Warning::Unknown(shown(option)));
                return Ok(());
            }
        };
        match (effect, option.value) {
            (Effect::Flag(apply), _) => apply(self),
            (Effect::Mount { set, clear }, _) => self.flags.add(*set, *clear),
            (Effect::Raw(apply), Some(value)) => apply(self, value),
            (Effect::Value(apply), Some(value)) => apply(self, &value.unescape())
                .map_err(|fault| OptionError::BadValue { option: shown(option), reason: fault.0 })?,
            (Effect::Unsupported, _) => self.warnings.push(Warning::Unsupported(shown(option))),
            (Effect::Accepted | Effect::Raw(_) | Effect::Value(_), _) => {}
        }
        Ok(())
    }

    /// Makes the calling user, if an ordinary one, root of the mount as far as they alone may use it: what belongs to
    /// root there is shown as theirs, what they make belongs to root, and they may do what root may.
    ///
    /// # Errors
    /// None in practice: the mapping is well formed.
    pub fn be_root_of_the_mount(&mut self) -> Result<(), OptionError> {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        if uid == 0 {
            return Ok(());
        }
        self.session.permissions = Permissions::OwnerIsRoot;
        // With ACLs the kernel checks permissions by itself, whatever it is told.
        (self.overlay.acl, self.service.acl) = (false, false);
        for (name, id) in [("uidmapping", uid), ("gidmapping", gid)] {
            self.read(OsStr::new(&format!("{name}={}", shown_as_root(id))))?;
        }
        Ok(())
    }

    /// Whether the mount is read-only: asked for, or without a layer to write to.
    pub fn is_read_only(&self) -> bool {
        self.flags.set.contains(MountFlags::RDONLY) || self.overlay.upper.is_none()
    }

    /// Checks that the options make a mount, and settles what depends on several of them.
    ///
    /// An upper directory mounted read-only without a work directory serves as the topmost lower one.
    ///
    /// # Errors
    /// No lower directory; an upper one without a work directory.
    pub fn finish(&mut self) -> Result<(), OptionError> {
        self.overlay.lowers.retain(|lower| !lower.as_os_str().is_empty());
        match (&self.overlay.upper, &self.overlay.work) {
            (Some(upper), None) if !self.is_read_only() => {
                return Err(OptionError::UpperWithoutWork(upper.display().to_string()));
            }
            (Some(_), None) => self.overlay.lowers.splice(..0, self.overlay.upper.take()).for_each(drop),
            (None, Some(_)) => {
                self.overlay.work = None;
                self.warnings.push(Warning::WorkWithoutUpper);
            }
            _ => {}
        }
        if self.overlay.lowers.is_empty() {
            return Err(OptionError::NoLower);
        }
        self.session.flags = self.flags.apply(MountFlags::empty());
        self.session.flags.set(MountFlags::RDONLY, self.is_read_only());
        if let Some(source) = self.source.as_ref().filter(|source| !source.is_empty()) {
            self.session.source.clone_from(source);
        }
        Ok(())
    }
}

/// The flags of mount(2) in a list such as mountinfo shows them; other options are passed over.
pub(super) fn flags_of(list: &str) -> FlagChange {
    let mut options = Options::default();
    for name in list.split(',') {
        if let Found::Effect(Effect::Mount { set, clear }) = table::find(name.as_bytes(), HasValue::No) {
            options.flags.add(*set, *clear);
        }
    }
    options.flags
}

/// The option as it was written, for a message.
fn shown(option: RawOption<'_>) -> String {
    let name = String::from_utf8_lossy(option.name);
    match option.value {
        Some(value) => format!("{name}={}", value.unescape().display()),
        None => name.into_owned(),
    }
}

/// The mapping that shows root as `id`, and every other id but `id` itself as it is.
fn shown_as_root(id: u32) -> String {
    const LAST: u32 = u32::MAX - 1;
    let mut map = format!("0:{id}:1");
    for (first, last) in [(1, id.saturating_sub(1)), (id.saturating_add(1), LAST)] {
        if first <= last {
            map.push_str(&format!(":{first}:{first}:{}", last - first + 1));
        }
    }
    map
}

#[cfg(test)]
mod tests;
