//! Files that the kernel reads and writes by itself: one backing id per inode for as long as it is open.
//!
//! The kernel re-opens the backing file with each caller's flags, so an id of a lower's file must never serve an
//! opening for writing: the write would land in the layer.

use std::sync::Arc;

use dashmap::DashMap;
use fuser::BackingId;
use parking_lot::Mutex;

use crate::overlay::{Backing, Condition, Error, Overlay, SetIds};

/// How a file is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// For writing, too.
    pub write: bool,
    /// Cut to nothing.
    pub truncate: bool,
    /// Whether cutting keeps set-id bits.
    pub ids: SetIds,
}

/// The live opening of one inode.
#[derive(Debug)]
struct Live {
    /// The kernel's id; none where it refused one, so that the daemon moves the bytes.
    id: Option<Arc<BackingId>>,
    /// Whether the backing file is the upper's.
    upper: bool,
    /// How many handles use it.
    handles: usize,
    /// Modification time of the backing file when it was opened first.
    mtime: Option<(i64, u64)>,
    backing: Backing,
}

/// What to answer to an opening.
#[derive(Debug)]
pub struct Opened {
    /// The backing id to name, if any.
    pub id: Option<Arc<BackingId>>,
    /// Whether writes are to come through the daemon, for set-id bits to be dropped.
    pub direct: bool,
}

/// All live openings.
#[derive(Debug, Default)]
pub struct Opens {
    live: DashMap<u64, Arc<Mutex<Option<Live>>>>,
}

impl Opens {
    /// Opens a file, with the id it has already or with one that `register` gets from the kernel. `made` is the file
    /// itself where it is new, and open already.
    ///
    /// # Errors
    /// [`Error::Stale`] where readers hold the lower's file and a writer comes: the file was copied up, and
    /// the kernel finds the copy when it looks the name up again.
    pub fn open(
        &self,
        overlay: &Overlay,
        node: u64,
        wish: Wish,
        made: Option<Backing>,
        register: impl FnOnce(&Backing) -> std::io::Result<BackingId>,
    ) -> Result<Opened, Error> {
        let slot = self.live.entry(node).or_default().clone();
        let mut slot = slot.lock();
        let write = wish.write || wish.truncate;
        if let Some(live) = &mut *slot {
            if write && !live.upper {
                overlay.copy_up_apart(node, wish.truncate)?;
                return Err(Error::Stale);
            }
            if wish.truncate {
                overlay.open_for_writing(node, true, wish.ids)?;
            }
            live.handles += 1;
            let direct = wish.write && live.backing.condition().set_ids;
            return Ok(Opened { id: live.id.clone(), direct });
        }
        let backing = match made {
            Some(made) => made,
            None if write => overlay.open_for_writing(node, wish.truncate, wish.ids)?,
            None => overlay.open_for_reading(node)?,
        };
        let id = register(&backing).inspect_err(|e| log::debug!("no passthrough for inode {node}: {e}"));
        let Condition { mtime, set_ids: direct } =
            if wish.write { backing.condition() } else { Condition::default() };
        let id = id.ok().map(Arc::new);
        *slot = Some(Live { id: id.clone(), upper: backing.upper, handles: 1, mtime, backing });
        Ok(Opened { id, direct })
    }

    /// One handle of the inode is closed; returns whether its attributes may have changed behind the kernel's back.
    pub fn release(&self, node: u64, was_writer: bool) -> bool {
        let Some(slot) = self.live.get(&node).map(|slot| slot.clone()) else { return false };
        let (moved, closed) = {
            let mut slot = slot.lock();
            let Some(live) = &mut *slot else { return false };
            live.handles = live.handles.saturating_sub(1);
            let moved = was_writer && live.backing.condition().mtime != live.mtime;
            (moved, if live.handles == 0 { slot.take() } else { None })
        };
        drop(closed);
        drop(slot);
        self.live.remove_if(&node, |_, slot| Arc::strong_count(slot) == 1 && slot.lock().is_none());
        moved
    }

    /// Whether readers hold the lower's file of this inode.
    pub fn reads_lower(&self, node: u64) -> bool {
        let slot = self.live.get(&node).map(|slot| slot.clone());
        slot.is_some_and(|slot| slot.lock().as_ref().is_some_and(|live| !live.upper && live.id.is_some()))
    }
}
