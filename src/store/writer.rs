//! The one writer: the lock, what a killed one left, and what is prepared for publishing.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::dir::{Dir, write_json};
use super::layout::{INDEX, LOCK, Layout};
use super::{
    BlobWriter, LayerMeta, Result, StagedBlob, StagedDir, Store, StoreError, Transaction, collect, journal,
    tree,
};
use crate::oci::digest::ChainId;
use crate::oci::manifest::Index;
use crate::sys::fs::{FlockOperation, Mode, OFlags};
use crate::sys::{Errno, fs};

/// The right to change a store. There is one at a time, over all processes; it ends when this is dropped or the process
/// dies. Several threads may prepare with it.
#[derive(Debug)]
pub struct Writer<'s> {
    store: &'s Store,
    _lock: OwnedFd,
}

impl Store {
    /// Waits until no other command changes the store, then clears away what a killed one may have left.
    ///
    /// A thread that asks for the lock while it has it waits for ever.
    ///
    /// # Errors
    /// What the system says.
    pub fn lock(&self) -> Result<Writer<'_>> {
        let lock = take_lock(&self.layout().root)?;
        let writer = Writer { store: self, _lock: lock };
        writer.recover()?;
        Ok(writer)
    }
}

/// Takes the lock, waiting where another has it.
pub(super) fn take_lock(root: &Dir) -> Result<OwnedFd> {
    let lock = open_lock(root)?;
    if try_lock(root, &lock)? {
        return Ok(lock);
    }
    log::info!("waiting for another command that changes {}", root.path().display());
    loop {
        match fs::flock(&lock, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other.map(|()| lock).map_err(StoreError::system("lock", root.path().join(LOCK))),
        }
    }
}

/// Whether a writer is at work.
pub(super) fn is_locked(root: &Dir) -> Result<bool> {
    let lock = open_lock(root)?;
    try_lock(root, &lock).map(|free| !free)
}

fn open_lock(root: &Dir) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(root.fd(), LOCK, flags, Mode::from_raw_mode(0o600))
        .map_err(StoreError::system("open", root.path().join(LOCK)))
}

fn try_lock(root: &Dir, lock: &OwnedFd) -> Result<bool> {
    match fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(e) => Err(StoreError::system("lock", root.path().join(LOCK))(e)),
    }
}

impl Writer<'_> {
    /// The store, for reading.
    pub fn store(&self) -> &Store {
        self.store
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        self.store.layout()
    }

    /// A blob to be written.
    ///
    /// # Errors
    /// What the system says.
    pub fn stage_blob(&self) -> Result<BlobWriter> {
        BlobWriter::new(self.layout())
    }

    /// A blob of these bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn stage_bytes(&self, bytes: &[u8]) -> Result<StagedBlob> {
        let mut blob = self.stage_blob()?;
        blob.write_all(bytes).map_err(StoreError::system("write", self.layout().tmp.path()))?;
        blob.finish()
    }

    /// An empty directory to unpack a layer into, on the file system where the layer will be.
    ///
    /// # Errors
    /// What the system says.
    pub fn stage_dir(&self) -> Result<StagedDir> {
        StagedDir::new(self.layout())
    }

    /// A transaction to which nothing was added.
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction::new(self)
    }

    /// Publishes, atomically, the files of a layer that the store knows; returns where they are. A layer that is
    /// unpacked already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::LayerMissing`], what the system says.
    pub fn unpacked(&self, chain_id: ChainId, diff: StagedDir) -> Result<std::path::PathBuf> {
        if self.store.layer(chain_id)?.is_none() {
            return Err(StoreError::LayerMissing { chain_id });
        }
        if self.store.diff_dir(chain_id).is_none() {
            let layer = self.layout().layers.sub(chain_id.digest().hex())?;
            self.layout().tmp.sync_all()?;
            diff.publish_diff(&layer)?;
            layer.sync()?;
        }
        self.store.diff_dir(chain_id).ok_or(StoreError::LayerMissing { chain_id })
    }

    /// Replaces what is known of a layer, atomically.
    ///
    /// # Errors
    /// [`StoreError::LayerMissing`], what the system says.
    pub fn update_layer(&self, meta: &LayerMeta) -> Result<()> {
        let chain_id = meta.chain_id;
        let layer = self.layout().layers.sub_if_there(chain_id.digest().hex())?;
        let layer = layer.ok_or(StoreError::LayerMissing { chain_id })?;
        layer.replace(super::layout::LAYER_META, &write_json(meta, "the layer")?, &self.layout().tmp)
    }

    /// Replaces the index, atomically. Nothing is removed; what nothing reaches any more stays until
    /// [`Writer::collect`].
    ///
    /// # Errors
    /// What the system says.
    pub fn set_index(&self, index: &Index) -> Result<()> {
        self.layout().root.replace(INDEX, &write_json(index, INDEX)?, &self.layout().tmp)
    }

    /// Clears away what a killed writer left: what it was about to publish or to remove and nothing reaches, and all
    /// that is in `tmp/`.
    fn recover(&self) -> Result<()> {
        let layout = self.layout();
        let journals = journal::names(layout)?;
        if !journals.is_empty() {
            let suspects = journal::read(layout, &journals)?;
            if let Err(e) = collect::remove_suspects(self, suspects) {
                log::warn!("what a killed command left stays for now; see `plyfs fsck`: {e}");
            }
        }
        for name in layout.tmp.names()? {
            // A leftover must not keep everyone from writing for ever.
            if let Err(e) = tree::remove(&layout.tmp, &name) {
                log::warn!("{e}");
            }
        }
        Ok(())
    }
}
