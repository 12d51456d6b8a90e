//! The stack of layers of one mount: opened, checked against each other, numbered.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::format::names::Namespace;
use crate::marks::{Reader, Role, Trust};
use crate::sys::fs::{self, FlockOperation, Stat};
use crate::sys::{Errno, dir, process};

use super::config::{Config, Nesting, XattrPermissions};
use super::features::{self, Features};
use super::ids::Ids;
use super::layer::{Layer, LayerRole, Opened};
use super::mountinfo;
use super::open_error::OpenError;
use super::real_dir::{LayerNo, UPPER};
use super::work::Work;

/// The most lowers a stack can have.
pub const MAX_LOWERS: usize = 4096;

/// The layers of a mount.
#[derive(Debug)]
pub struct Stack {
    /// The writable layer and what belongs to it.
    pub upper: Option<Upper>,
    /// The read-only layers, top first; the first has number 1.
    pub lowers: Vec<Layer>,
}

/// The upper layer with its work directory.
#[derive(Debug)]
pub struct Upper {
    /// The layer.
    pub layer: Layer,
    /// Its work directory.
    pub work: Work,
    /// What its file system can do.
    pub features: Features,
    /// Keep other mounts away from the upper and the work directory while they are open.
    _locks: [OwnedFd; 2],
}

/// The directories of a configuration, opened as given.
struct Directories {
    lowers: Vec<Opened>,
    upper: Option<(Opened, Opened)>,
    mountpoint: Option<Opened>,
}

impl Stack {
    /// Opens and checks the layers of `config`. Nothing is changed on disk before all checks passed; then the
    /// work directory is cleared.
    pub fn open(config: &Config) -> Result<Stack, OpenError> {
        let dirs = Directories::open(config)?;
        dirs.check_overlap(config.nesting)?;
        let mut devices = Devices::default();
        let upper_device = dirs.upper.as_ref().map(|(upper, _)| devices.number(upper.st.st_dev));
        let maps_ids = Ids::new(config).maps();
        let recorded = config.xattr_permissions != XattrPermissions::Off;
        let authors = Authors::new(config);
        let mut lowers = Vec::with_capacity(dirs.lowers.len());
        for (i, opened) in dirs.lowers.into_iter().enumerate() {
            let device = devices.number(opened.st.st_dev);
            let idmapped = maps_ids && mountinfo::is_idmapped(opened.fd.as_fd());
            let trust = authors.trust(Role::Lower(config.lower_marks), &opened.st);
            let role = LayerRole { number: i as LayerNo + 1, device, trust, override_stat: recorded };
            lowers.push(Layer::lower(opened, role, idmapped));
        }
        if let (Some(mountpoint), Some(upper)) = (&dirs.mountpoint, &dirs.upper) {
            refuse_within("mount point", mountpoint, "upper", &upper.0)?;
        }
        let upper = match dirs.upper {
            Some((upper, work)) => {
                let device = upper_device.unwrap_or(0);
                let trust = authors.trust(Role::Upper, &upper.st);
                let role = LayerRole { number: UPPER, device, trust, override_stat: recorded };
                Some(Upper::open(config, upper, work, role)?)
            }
            None => None,
        };
        Ok(Stack { upper, lowers })
    }

    /// The layer with this number.
    pub fn layer(&self, number: LayerNo) -> Option<&Layer> {
        match number {
            UPPER => self.upper.as_ref().map(|u| &u.layer),
            n => self.lowers.get(n as usize - 1),
        }
    }

    /// All layers, top first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.upper.as_ref().map(|u| &u.layer).into_iter().chain(&self.lowers)
    }
}

/// Whose marks count, found out once for all layers.
struct Authors {
    reader: Reader,
    namespace: Namespace,
    metacopy: bool,
    records_modes: bool,
}

impl Authors {
    fn new(config: &Config) -> Authors {
        let namespace = features::namespace(config);
        let records_modes = config.xattr_permissions != XattrPermissions::Off;
        Authors { reader: Reader::own(), namespace, metacopy: config.metacopy, records_modes }
    }

    /// Whose marks count in the layer with this root.
    fn trust(&self, role: Role, root: &Stat) -> Trust {
        let trust = Trust::new(self.reader, role, root).in_namespace(self.namespace);
        let trust = if self.records_modes { trust.with_masked_modes() } else { trust };
        if matches!(role, Role::Lower(_)) && !self.metacopy { trust.without_user_metacopy() } else { trust }
    }
}

/// The devices of the layers in the order in which they were met.
#[derive(Default)]
struct Devices(HashMap<u64, u8>);

impl Devices {
    fn number(&mut self, dev: u64) -> u8 {
        let next = self.0.len().min(0xfd) as u8;
        *self.0.entry(dev).or_insert(next)
    }
}

impl Directories {
    fn open(config: &Config) -> Result<Directories, OpenError> {
        let mut lowers = Vec::new();
        for path in config.lowers.iter().filter(|path| !path.as_os_str().is_empty()) {
            lowers.push(open_directory("lower", path)?);
        }
        if lowers.is_empty() {
            return Err(OpenError::NoLower);
        }
        if lowers.len() > MAX_LOWERS {
            return Err(OpenError::TooManyLowers(lowers.len()));
        }
        let upper = match (&config.upper, &config.work) {
            (None, _) => None,
            (Some(upper), None) => return Err(OpenError::NoWork(upper.clone())),
            (Some(upper), Some(work)) => {
                Some((open_directory("upper", upper)?, open_directory("work", work)?))
            }
        };
        let mountpoint =
            config.mountpoint.as_ref().map(|path| open_directory("mount point", path)).transpose()?;
        Ok(Directories { lowers, upper, mountpoint })
    }

    /// Refuses directories that contain each other where that would let the union see itself.
    fn check_overlap(&self, nesting: Nesting) -> Result<(), OpenError> {
        let may_clone = process::has_capability(process::CapabilitySet::SYS_ADMIN);
        for lower in &self.lowers {
            if let Some((upper, work)) = &self.upper {
                if nesting == Nesting::Refused {
                    refuse_within("upper", upper, "lower", lower)?;
                    refuse_within("work", work, "lower", lower)?;
                }
                refuse_within("lower", lower, "upper", upper)?;
                refuse_within("lower", lower, "work", work)?;
            }
            // A private clone of the lower does not contain the mount, and a mount on the very lower is not
            // in the way of names below it; in between, a look at the mount point would wait for itself.
            if let Some(mountpoint) = &self.mountpoint
                && nesting == Nesting::Refused
                && !may_clone
                && !mountpoint.is_same(lower)
            {
                refuse_within("mount point", mountpoint, "lower", lower)?;
            }
        }
        if let Some((upper, work)) = &self.upper {
            refuse_within("work", work, "upper", upper)?;
            refuse_within("upper", upper, "work", work)?;
            if upper.st.st_dev != work.st.st_dev {
                return Err(OpenError::WorkElsewhere { work: work.path.clone(), upper: upper.path.clone() });
            }
        }
        Ok(())
    }
}

/// Opens a directory of the configuration.
fn open_directory(role: &'static str, path: &Path) -> Result<Opened, OpenError> {
    Opened::new(path).map_err(|errno| OpenError::Directory { role, path: path.to_path_buf(), errno })
}

/// Fails if `inner` is, or lies below, `outer`.
fn refuse_within(
    inner_role: &'static str,
    inner: &Opened,
    outer_role: &'static str,
    outer: &Opened,
) -> Result<(), OpenError> {
    let within = inner.is_within(outer);
    match within {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Overlap {
            inner_role,
            inner: inner.path.clone(),
            outer_role,
            outer: outer.path.clone(),
        }),
        Err(errno) => Err(OpenError::Directory { role: inner_role, path: inner.path.clone(), errno }),
    }
}

impl Upper {
    fn open(config: &Config, upper: Opened, work: Opened, role: LayerRole) -> Result<Upper, OpenError> {
        let locks = [lock("upper", &upper)?, lock("work", &work)?];
        let work_error = |errno| OpenError::Work { path: work.path.clone(), errno };
        let parts = Work::open(&work.fd, config.index).map_err(work_error)?;
        let features = Features::probe(config, &parts);
        if features.marks.is_none() {
            let path = upper.path.clone();
            if config.metacopy {
                return Err(OpenError::NoXattrs { option: "metacopy=on", path });
            }
            if role.override_stat {
                return Err(OpenError::NoXattrs { option: "xattr_permissions", path });
            }
            log::warn!("{} has no extended attributes: directories keep no redirects", path.display());
        }
        Ok(Upper { layer: Layer::upper(upper, role), work: parts, features, _locks: locks })
    }
}

/// How long a directory may be found in use before it is refused: the daemon of a mount that was just taken away
/// ends a moment later.
const IN_USE_GRACE: Duration = Duration::from_secs(3);

/// Takes the lock that marks a directory as used by a live mount.
fn lock(role: &'static str, opened: &Opened) -> Result<OwnedFd, OpenError> {
    let failed = |errno| OpenError::Directory { role, path: opened.path.clone(), errno };
    let fd = dir::open_listing(&opened.fd).map_err(failed)?;
    let deadline = Instant::now() + IN_USE_GRACE;
    loop {
        match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(fd),
            Err(Errno::AGAIN) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Err(Errno::AGAIN) => return Err(OpenError::InUse { role, path: opened.path.clone() }),
            Err(errno) => return Err(failed(errno)),
        }
    }
}
