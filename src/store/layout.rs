//! Where a store lies, and how an empty directory becomes one.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::dir::{Dir, write_json};
use super::writer::take_lock;
use super::{Result, StoreError};
use crate::oci::manifest::Index;
use crate::sys::fs;

/// The marker of an OCI image layout.
pub(super) const OCI_LAYOUT: &str = "oci-layout";
/// The images.
pub(super) const INDEX: &str = "index.json";
/// The directory of [`BLOBS_SHA256`].
const BLOBS: &str = "blobs";
/// The blobs, below [`BLOBS`].
const BLOBS_SHA256: &str = "sha256";
pub(super) const LAYERS: &str = "layers";
pub(super) const CONTAINERS: &str = "containers";
pub(super) const TMP: &str = "tmp";
/// The file that a writer locks; what tells a store from other image layouts.
pub(super) const LOCK: &str = "lock";
/// What is known of a layer, in its directory.
pub(super) const LAYER_META: &str = "layer.json";
/// The files of a layer, in its directory.
pub(super) const DIFF: &str = "diff";
/// What is known of a container, in its directory.
pub(super) const CONTAINER_CONFIG: &str = "config.json";
/// All names that a store which is being made may have.
const NAMES: [&str; 7] = [OCI_LAYOUT, INDEX, BLOBS, LAYERS, CONTAINERS, TMP, LOCK];

/// The directories of a store, open.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) root: Dir,
    pub(super) blobs: Dir,
    pub(super) layers: Dir,
    pub(super) containers: Dir,
    pub(super) tmp: Dir,
}

/// See [`super::Store::default_root`].
pub(super) fn default_root() -> Result<PathBuf> {
    if fs::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/plyfs"));
    }
    let given = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = given.or_else(|| Some(std::env::home_dir()?.join(".local/share")));
    data.filter(|path| path.is_absolute()).map(|data| data.join("plyfs")).ok_or(StoreError::NoHome)
}

/// Opens the store at `path`; makes one where nothing or an empty directory is.
pub(super) fn open(path: &Path) -> Result<Layout> {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(StoreError::system("make directory", &shown))?;
    let root = Dir::open(path, shown)?;
    let owner = root.own_stat()?.st_uid;
    if owner != fs::geteuid().as_raw() {
        return Err(StoreError::ForeignStore { path: root.path().to_owned(), owner });
    }
    match root.read_json::<Value>(OCI_LAYOUT)? {
        Some(marker) if root.stat(LOCK)?.is_some() => check_version(&root, &marker)?,
        Some(_) => return Err(not_store(&root)),
        None => make(&root)?,
    }
    Ok(Layout {
        blobs: root.ensure(BLOBS)?.ensure(BLOBS_SHA256)?,
        layers: root.ensure(LAYERS)?,
        containers: root.ensure(CONTAINERS)?,
        tmp: root.ensure(TMP)?,
        root,
    })
}

/// Makes the store's files in a directory that is empty, or where another process began to.
fn make(root: &Dir) -> Result<()> {
    let ours = |name: &OsString| NAMES.iter().any(|ours| name == ours);
    if !root.names()?.iter().all(ours) {
        return Err(not_store(root));
    }
    let _lock = take_lock(root)?;
    if root.stat(OCI_LAYOUT)?.is_some() {
        return Ok(());
    }
    let blobs = root.ensure(BLOBS)?.ensure(BLOBS_SHA256)?;
    let tmp = root.ensure(TMP)?;
    // Where blobs are, a missing index is a fault that is to be noticed, and mended from the manifests.
    if root.stat(INDEX)?.is_none() && blobs.names()?.is_empty() {
        root.replace(INDEX, &write_json(&Index::new(Vec::new()), INDEX)?, &tmp)?;
    }
    let marker = json!({ "imageLayoutVersion": "1.0.0" });
    root.replace(OCI_LAYOUT, &write_json(&marker, OCI_LAYOUT)?, &tmp)
}

/// Refuses layouts of a later version.
fn check_version(root: &Dir, marker: &Value) -> Result<()> {
    let version = marker.get("imageLayoutVersion").and_then(Value::as_str).unwrap_or_default();
    if version.starts_with("1.") {
        return Ok(());
    }
    Err(StoreError::LayoutVersion { path: root.path().to_owned(), version: version.to_owned() })
}

fn not_store(root: &Dir) -> StoreError {
    StoreError::NotStore { path: root.path().to_owned() }
}
