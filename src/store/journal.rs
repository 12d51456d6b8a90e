//! What a writer is about to publish or to remove, written down first: if it is killed, the next writer looks at just
//! these blobs and layers and removes those that nothing reaches.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::dir::{random_name, write_json};
use super::layout::Layout;
use super::{Result, StoreError};
use crate::oci::digest::{ChainId, Digest};

/// How the names of journals in `tmp/` begin.
const PREFIX: &str = "journal-";

/// Blobs and layers that may be unreachable if the writer is killed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) blobs: BTreeSet<Digest>,
    pub(super) layers: BTreeSet<ChainId>,
}

impl Journal {
    pub(super) fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.layers.is_empty()
    }

    /// Puts it on disk, atomically; returns its name.
    pub(super) fn write(&self, layout: &Layout) -> Result<String> {
        let name = random_name("journal")?;
        layout.tmp.replace(&name, &write_json(self, "the journal")?, &layout.tmp)?;
        Ok(name)
    }
}

/// The names of the journals in `tmp/`.
pub(super) fn names(layout: &Layout) -> Result<Vec<String>> {
    let names = layout.tmp.names()?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| name.starts_with(PREFIX) && !name[PREFIX.len()..].contains('-')).collect())
}

/// All that these journals name. One that cannot be understood is left out with a warning: what it named is found by
/// `fsck`.
pub(super) fn read(layout: &Layout, names: &[String]) -> Result<Journal> {
    let mut all = Journal::default();
    for name in names {
        match layout.tmp.read_json::<Journal>(name) {
            Ok(journal) => {
                let journal = journal.unwrap_or_default();
                all.blobs.extend(journal.blobs);
                all.layers.extend(journal.layers);
            }
            Err(
                e @ (StoreError::Json { .. } | StoreError::TooLarge { .. } | StoreError::NotRegular { .. }),
            ) => {
                log::warn!("a journal of a command that was killed is left out: {e}");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}
