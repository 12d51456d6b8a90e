//! Containers: an upper on an image, and what is known of it in `config.json`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::dir::{Dir, random_hex, write_json};
use super::layout::{CONTAINER_CONFIG, Layout};
use super::made_up::{Suffix, made_up_name};
use super::stage::Scrap;
use super::{Result, Store, StoreError, Writer, tree};
use crate::oci::config::RunConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{ChainId, ImageId};
use crate::sys::Errno;
use crate::sys::fs::{FlockOperation, flock};

/// The directories of a container, and the modes they get.
const DIRECTORIES: [(&str, u32); 3] = [(UPPER, 0o755), (WORK, 0o700), (MERGED, 0o755)];
const UPPER: &str = "upper";
const WORK: &str = "work";
const MERGED: &str = "merged";
/// How often a name is made up.
const NAME_TRIES: usize = 64;
/// From which try on it gets digits.
const NAME_TRIES_BARE: usize = 4;
const NAME_MAX: usize = 128;

/// A container's identity: 64 lower-case hexadecimal digits, random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ContainerId(String);

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, which no other container has.
    pub name: String,
    /// The image it was made of.
    pub image: ContainerImage,
    /// When it was made (RFC 3339).
    pub created: String,
    /// The chain IDs of the image's layers, the top one first.
    pub layers: Vec<ChainId>,
    /// How it is run.
    #[serde(default)]
    pub config: RunConfig,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The image that a container was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerImage {
    /// Its manifest, which stays in the store as long as the container does.
    pub manifest: Descriptor,
    /// The digest of its configuration.
    pub id: ImageId,
    /// What the person called it.
    #[serde(default)]
    pub name: String,
}

/// A container to be made.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// Its name; one is made up where there is none.
    pub name: Option<String>,
    /// The image.
    pub image: ContainerImage,
    /// When it is made (RFC 3339).
    pub created: String,
    /// How it is run.
    pub config: RunConfig,
    /// Other fields to be kept with it.
    pub extra: Map<String, Value>,
}

/// Where a container's directories are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPaths {
    /// The writable layer.
    pub upper: PathBuf,
    /// The mount's work directory.
    pub work: PathBuf,
    /// The mount point.
    pub merged: PathBuf,
}

impl ContainerId {
    fn random() -> Result<ContainerId> {
        random_hex::<32>().map(ContainerId)
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<ContainerId> {
        match text.len() == 64 && is_hex(text) {
            true => Ok(ContainerId(text.to_owned())),
            false => Err(StoreError::NoContainer { name: text.to_owned() }),
        }
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<ContainerId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("{text:?} is no container ID")))
    }
}

/// Whether these are lower-case hexadecimal digits.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a container may be called so: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, and not too long for a path.
fn is_name(name: &str) -> bool {
    let (first, rest) = name.as_bytes().split_first().unzip();
    let rest: &[u8] = rest.unwrap_or(&[]);
    let later = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    first.is_some_and(u8::is_ascii_alphanumeric)
        && !rest.is_empty()
        && name.len() <= NAME_MAX
        && rest.iter().all(later)
}

/// The container that has this name or ID, or whose ID alone begins so. A name goes before the beginning of an ID.
pub(super) fn find(containers: Vec<Container>, name: &str) -> Result<Container> {
    let exact = containers.iter().position(|c| c.id.as_str() == name || c.name == name);
    let begins = |c: &Container| !name.is_empty() && c.id.as_str().starts_with(name);
    let mut containers = containers;
    if let Some(at) = exact {
        return Ok(containers.swap_remove(at));
    }
    containers.retain(begins);
    match (containers.pop(), containers.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(_), false) => Err(StoreError::AmbiguousContainer { prefix: name.to_owned() }),
        (None, _) => Err(StoreError::NoContainer { name: name.to_owned() }),
    }
}

/// What is known of the container that has this directory; `None` where there is none.
pub(super) fn read(layout: &Layout, id: &ContainerId) -> Result<Option<Container>> {
    let Some(dir) = layout.containers.sub_if_there(id.as_str())? else { return Ok(None) };
    match dir.read_json::<Container>(CONTAINER_CONFIG)? {
        Some(container) if container.id == *id => Ok(Some(container)),
        // It was removed since.
        None if layout.containers.sub_if_there(id.as_str())?.is_none() => Ok(None),
        _ => Err(StoreError::NoContainerConfig { path: dir.path().join(CONTAINER_CONFIG) }),
    }
}

/// The IDs of all directories of containers, sorted.
pub(super) fn ids(layout: &Layout) -> Result<Vec<ContainerId>> {
    let names = layout.containers.names()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// Where a container's directories are.
pub(super) fn paths(layout: &Layout, id: &ContainerId) -> ContainerPaths {
    let dir = layout.containers.path().join(id.as_str());
    ContainerPaths { upper: dir.join(UPPER), work: dir.join(WORK), merged: dir.join(MERGED) }
}

impl Writer<'_> {
    /// Makes a container on an image, atomically: its directories, empty, and its `config.json`.
    ///
    /// # Errors
    /// [`StoreError::ContainerName`], [`StoreError::NameTaken`], those of reading the image, what the system says.
    pub fn create_container(&self, new: NewContainer) -> Result<Container> {
        let name = self.container_name(new.name)?;
        let manifest = self.store().manifest(&new.image.manifest)?;
        let config = self.store().config(&manifest)?;
        let mut layers = ChainId::of_layers(&config.rootfs.diff_ids);
        layers.reverse();
        let container = Container {
            id: ContainerId::random()?,
            name,
            image: ContainerImage { id: ImageId::new(manifest.config.digest), ..new.image },
            created: new.created,
            layers,
            config: new.config,
            extra: new.extra,
        };
        self.publish_container(&container)?;
        Ok(container)
    }

    /// Replaces a container's `config.json`, atomically.
    ///
    /// # Errors
    /// [`StoreError::NoContainer`], [`StoreError::ContainerName`], [`StoreError::NameTaken`], what the system says.
    pub fn update_container(&self, container: &Container) -> Result<()> {
        self.check_name(&container.name, Some(&container.id))?;
        let layout = self.layout();
        let dir = layout.containers.sub_if_there(container.id.as_str())?;
        let dir = dir.ok_or_else(|| StoreError::NoContainer { name: container.name.clone() })?;
        dir.replace(CONTAINER_CONFIG, &write_json(container, CONTAINER_CONFIG)?, &layout.tmp)
    }

    /// Removes a container with all its files. It is gone at once, its files a little later.
    ///
    /// # Errors
    /// [`StoreError::Mounted`], [`StoreError::NoContainer`], what the system says.
    pub fn remove_container(&self, container: &Container) -> Result<()> {
        self.discard_container(&container.id, &container.name)
    }

    /// As [`Writer::remove_container`], for one whose `config.json` may be unreadable; messages call it `shown`.
    ///
    /// # Errors
    /// As [`Writer::remove_container`].
    pub fn discard_container(&self, id: &ContainerId, shown: &str) -> Result<()> {
        let layout = self.layout();
        let dir = layout.containers.sub_if_there(id.as_str())?;
        let dir = dir.ok_or_else(|| StoreError::NoContainer { name: shown.to_owned() })?;
        refuse_mounted(&dir, shown)?;
        let scrap = Scrap::new(layout, "container")?;
        layout.containers.rename(id.as_str(), &layout.tmp, scrap.name())?;
        layout.containers.sync()?;
        // What cannot be removed now is tried again by the next writer; the container is gone in any case.
        drop(scrap);
        Ok(())
    }

    fn publish_container(&self, container: &Container) -> Result<()> {
        let layout = self.layout();
        let scrap = Scrap::new(layout, "container")?;
        let dir = layout.tmp.make(scrap.name(), 0o700)?;
        for (name, mode) in DIRECTORIES {
            // Empty, it reaches the disk with its name.
            dir.make(name, mode)?;
        }
        dir.create_with(CONTAINER_CONFIG, &write_json(container, CONTAINER_CONFIG)?)?;
        dir.sync()?;
        scrap.publish(&layout.containers, container.id.as_str())?;
        layout.containers.sync()
    }

    /// The name asked for, if it can be had, or one that is free.
    fn container_name(&self, wanted: Option<String>) -> Result<String> {
        if let Some(name) = wanted {
            return self.check_name(&name, None).map(|()| name);
        }
        let mut name = String::new();
        for attempt in 0..NAME_TRIES {
            let suffix = if attempt < NAME_TRIES_BARE { Suffix::None } else { Suffix::Digits };
            name = made_up_name(suffix)?;
            match self.check_name(&name, None) {
                Err(StoreError::NameTaken { .. }) => {}
                other => return other.map(|()| name),
            }
        }
        self.check_name(&name, None).map(|()| name)
    }

    /// Whether the container `owner`, or a new one, may be called so.
    fn check_name(&self, name: &str, owner: Option<&ContainerId>) -> Result<()> {
        if !is_name(name) {
            return Err(StoreError::ContainerName { name: name.to_owned() });
        }
        let other = |c: &Container| c.name == name && Some(&c.id) != owner;
        match self.store().containers()?.into_iter().find(other) {
            None => Ok(()),
            Some(other) => Err(StoreError::NameTaken { name: name.to_owned(), id: other.id.0 }),
        }
    }
}

/// Fails if the container's file system is mounted.
fn refuse_mounted(dir: &Dir, shown: &str) -> Result<()> {
    if is_locked(dir)? {
        return Err(StoreError::Mounted { name: shown.to_owned(), path: dir.path().join(MERGED) });
    }
    let crosses = |e: &std::io::Error| e.raw_os_error() == Some(crate::sys::Errno::XDEV.raw_os_error());
    match dir.sub_if_there(MERGED) {
        Err(StoreError::System { source, path, .. }) if crosses(&source) => {
            Err(StoreError::Mounted { name: shown.to_owned(), path })
        }
        // Anything else that is wrong with the mount point does not keep the container from being removed.
        Err(e) => {
            log::debug!("{e}");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Whether a mount uses the container's upper, wherever and in whichever mount namespace it is: it holds a lock on it
/// as long as it lives.
fn is_locked(dir: &Dir) -> Result<bool> {
    let Some(upper) = dir.sub_if_there(UPPER)? else { return Ok(false) };
    match flock(upper.fd(), FlockOperation::NonBlockingLockShared) {
        Err(Errno::AGAIN) => Ok(true),
        // Given up again when `upper` is closed.
        Ok(()) => Ok(false),
        Err(e) => Err(StoreError::system("lock", upper.path())(e)),
    }
}

/// Which of a container's directories are not there. One that is mounted on is there.
pub(super) fn missing_directories(dir: &Dir) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for (name, _) in DIRECTORIES {
        match dir.stat(name) {
            Ok(Some(stat)) if name == MERGED || tree::is_dir(&stat) => {}
            Ok(_) => missing.push(name),
            // A mount whose daemon is dead.
            Err(e) if name == MERGED => log::debug!("{e}"),
            Err(e) => return Err(e),
        }
    }
    Ok(missing)
}

/// Makes the directories that hold no data, where they are missing.
pub(super) fn make_missing(dir: &Dir) -> Result<()> {
    let missing = missing_directories(dir)?;
    for (name, mode) in DIRECTORIES.iter().filter(|(name, _)| *name != UPPER && missing.contains(name)) {
        dir.make(name, *mode)?;
    }
    dir.sync()
}

/// The bytes of a container's upper.
pub(super) fn upper_size(layout: &Layout, id: &ContainerId) -> Result<u64> {
    let Some(dir) = layout.containers.sub_if_there(id.as_str())? else { return Ok(0) };
    dir.sub_if_there(UPPER)?.map_or(Ok(0), tree::size)
}

impl Store {
    /// All containers, the oldest first. One whose `config.json` cannot be read is left out with a warning.
    ///
    /// # Errors
    /// What the system says.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        for id in ids(self.layout())? {
            match read(self.layout(), &id) {
                Ok(container) => containers.extend(container),
                Err(e) => log::warn!("container {id} is left out: {e}"),
            }
        }
        containers.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(containers)
    }

    /// The container with this name, this ID, or the only one whose ID begins so.
    ///
    /// # Errors
    /// [`StoreError::NoContainer`], [`StoreError::AmbiguousContainer`], what the system says.
    pub fn find_container(&self, name: &str) -> Result<Container> {
        find(self.containers()?, name)
    }

    /// Whether a live mount uses the container's upper.
    ///
    /// # Errors
    /// [`StoreError::NoContainer`], what the system says.
    pub fn is_mounted(&self, id: &ContainerId) -> Result<bool> {
        let dir = self.layout().containers.sub_if_there(id.as_str())?;
        is_locked(&dir.ok_or_else(|| StoreError::NoContainer { name: id.to_string() })?)
    }

    /// Where a container's directories are.
    pub fn container_paths(&self, id: &ContainerId) -> ContainerPaths {
        paths(self.layout(), id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Digest;

    fn container(id: &str, name: &str) -> Container {
        let id = format!("{id:0<64}").parse().expect("an ID");
        let image = ContainerImage {
            manifest: Descriptor::of("x", b"m"),
            id: ImageId::new(Digest::of(b"c")),
            name: String::new(),
        };
        let name = name.to_owned();
        Container {
            id,
            name,
            image,
            created: String::new(),
            layers: Vec::new(),
            config: RunConfig::default(),
            extra: Map::new(),
        }
    }

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "a1", "0_.-", "Web-1", &"x".repeat(128)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a", "_a", "-a", ".a", "a/b", "a b", "a:b", "ä1", "a\n", &"x".repeat(129)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn containers_are_found_by_name_id_or_its_beginning() {
        let all = || vec![container("ab1", "web"), container("ab2", "ab1x"), container("cd", "ab")];
        let found = |name: &str| find(all(), name).map(|c| c.name);
        assert_eq!(found("web").expect("found"), "web");
        assert_eq!(found("ab1").expect("found"), "web");
        assert_eq!(found("ab").expect("the name goes first"), "ab");
        assert_eq!(found(&format!("{:0<64}", "cd")).expect("found"), "ab");
        assert!(matches!(found("a"), Err(StoreError::AmbiguousContainer { .. })));
        assert!(matches!(found(""), Err(StoreError::NoContainer { .. })));
        assert!(matches!(found("e"), Err(StoreError::NoContainer { .. })));
    }

    #[test]
    fn fields_of_later_versions_survive() {
        let mut json = serde_json::to_value(container("ab", "web")).expect("JSON");
        json["restart"] = Value::from("always");
        let back: Container = serde_json::from_value(json.clone()).expect("a container");
        assert_eq!(serde_json::to_value(&back).expect("JSON"), json);
        json["id"] = Value::from("../etc");
        assert!(serde_json::from_value::<Container>(json).is_err());
    }
}
