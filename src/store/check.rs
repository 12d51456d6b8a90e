//! What is wrong with a store. Nothing is changed.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::collect::{digests, present};
use super::container::{self, ContainerId};
use super::dir::Dir;
use super::layout::DIFF;
use super::reach::{Need, Reach, Used, reach};
use super::{BlobReader, Result, Store, StoreError, writer};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{ChainId, Digest};
use crate::oci::manifest::Index;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names, sizes and documents.
    Structure,
    /// Also every byte of every blob in use.
    Contents,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It takes space, no more.
    Info,
    /// An image or a container does not work.
    Error,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// There is no index.
    IndexMissing,
    /// The index cannot be read.
    IndexDamaged {
        /// Why.
        reason: String,
    },
    /// A manifest or a configuration in use cannot be read.
    Unreadable {
        /// The image or container that needs it.
        wanted_by: String,
        /// Why.
        reason: String,
    },
    /// A blob in use is not there.
    BlobMissing {
        /// The blob.
        digest: Digest,
    },
    /// A blob in use has other bytes.
    BlobDamaged {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// What is known of a layer in use is not there or cannot be read.
    LayerDamaged {
        /// The layer.
        chain_id: ChainId,
        /// What is wrong.
        reason: String,
    },
    /// The unpacked files of a layer are no directory that can be read.
    DiffDamaged {
        /// The layer.
        chain_id: ChainId,
        /// What is wrong.
        reason: String,
    },
    /// A container's file cannot be read, or a directory of it is missing.
    ContainerDamaged {
        /// The container.
        id: ContainerId,
        /// What is wrong.
        reason: String,
    },
    /// A blob that nothing reaches.
    UnreachableBlob {
        /// The blob.
        digest: Digest,
    },
    /// A layer that nothing reaches.
    UnreachableLayer {
        /// The layer.
        chain_id: ChainId,
    },
    /// A name in `tmp/` that no command works on.
    Leftover {
        /// The name.
        name: OsString,
    },
    /// A file whose name is not one that the store gives.
    Stray {
        /// The file.
        path: PathBuf,
    },
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Finding::UnreachableBlob { .. }
            | Finding::UnreachableLayer { .. }
            | Finding::Leftover { .. }
            | Finding::Stray { .. } => Severity::Info,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::IndexMissing => f.write_str("index.json is missing"),
            Finding::IndexDamaged { reason } => write!(f, "index.json: {reason}"),
            Finding::Unreadable { wanted_by, reason } => write!(f, "{wanted_by}: {reason}"),
            Finding::BlobMissing { digest } => write!(f, "blob {digest} is missing"),
            Finding::BlobDamaged { digest, reason } => write!(f, "blob {digest}: {reason}"),
            Finding::LayerDamaged { chain_id, reason } => write!(f, "layer {chain_id}: {reason}"),
            Finding::DiffDamaged { chain_id, reason } => write!(f, "files of layer {chain_id}: {reason}"),
            Finding::ContainerDamaged { id, reason } => write!(f, "container {id}: {reason}"),
            Finding::UnreachableBlob { digest } => write!(f, "blob {digest} is not used"),
            Finding::UnreachableLayer { chain_id } => write!(f, "layer {chain_id} is not used"),
            Finding::Leftover { name } => write!(f, "tmp/{} is left over", name.display()),
            Finding::Stray { path } => write!(f, "{} is none of the store's files", path.display()),
        }
    }
}

impl Store {
    /// Looks for what is wrong, the worst first. Nothing is changed or locked: while another command writes, what it
    /// has not finished may be among the findings; hold the lock for an exact answer.
    ///
    /// # Errors
    /// What the system says of the store's own directories.
    pub fn check(&self, depth: Depth) -> Result<Vec<Finding>> {
        let mut check = Check { store: self, depth, findings: Vec::new() };
        let index = check.index();
        let reach = reach(self, index.as_ref().unwrap_or(&Index::new(Vec::new())))?;
        check.blobs(&reach)?;
        check.layers(&reach);
        check.containers()?;
        // Without an index, or with a manifest that cannot be read, nothing tells what is used.
        if index.is_some() && reach.problems.is_empty() {
            check.unreachable(&reach)?;
        }
        check.documents(reach.problems);
        check.strays()?;
        check.leftovers()?;
        check.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
        Ok(check.findings)
    }
}

/// The check that is going on.
struct Check<'a> {
    store: &'a Store,
    depth: Depth,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn index(&mut self) -> Option<Index> {
        match self.store.index() {
            Ok(index) => return Some(index),
            Err(StoreError::IndexMissing { .. }) => self.findings.push(Finding::IndexMissing),
            Err(e) => self.findings.push(Finding::IndexDamaged { reason: reason(&e) }),
        }
        None
    }

    fn documents(&mut self, problems: Vec<(String, StoreError)>) {
        for (wanted_by, problem) in problems {
            // A container's own file that cannot be read is a finding of its own.
            let known =
                wanted_by.strip_prefix("container ").is_some_and(|id| id.parse::<ContainerId>().is_ok());
            if !known {
                self.findings.push(Finding::Unreadable { wanted_by, reason: reason(&problem) });
            }
        }
    }

    /// Looks at every blob in use.
    fn blobs(&mut self, reach: &Reach) -> Result<()> {
        for (digest, (size, need)) in &reach.blobs {
            let Err(e) = self.blob(*digest, *size) else { continue };
            match e {
                StoreError::BlobMissing { .. } if *need == Need::Optional => {}
                StoreError::BlobMissing { digest } => self.findings.push(Finding::BlobMissing { digest }),
                e => self.findings.push(Finding::BlobDamaged { digest: *digest, reason: reason(&e) }),
            }
        }
        Ok(())
    }

    fn blob(&self, digest: Digest, size: u64) -> Result<()> {
        let reader = BlobReader::open(&self.store.layout().blobs, &Descriptor::new("", digest, size))?;
        match self.depth {
            Depth::Structure => Ok(()),
            Depth::Contents => reader.finish(),
        }
    }

    /// Looks at every layer in use.
    fn layers(&mut self, reach: &Reach) {
        for (chain_id, used) in &reach.layers {
            self.layer(*chain_id, used);
            if let Err(e) = self.diff(*chain_id) {
                self.findings.push(Finding::DiffDamaged { chain_id: *chain_id, reason: reason(&e) });
            }
        }
    }

    fn layer(&mut self, chain_id: ChainId, used: &Used) {
        let reason = match self.store.layer(chain_id) {
            Ok(Some(_)) => return,
            Ok(None) if used.need == Need::Optional => return,
            Ok(None) => "layer.json is missing".to_owned(),
            Err(e) => reason(&e),
        };
        self.findings.push(Finding::LayerDamaged { chain_id, reason });
    }

    fn diff(&self, chain_id: ChainId) -> Result<()> {
        let layer = self.store.layout().layers.sub_if_there(chain_id.digest().hex())?;
        let Some(layer) = layer else { return Ok(()) };
        let Some(diff) = layer.sub_if_there(DIFF)? else { return Ok(()) };
        diff.names().map(drop)
    }

    fn containers(&mut self) -> Result<()> {
        for id in container::ids(self.store.layout())? {
            match container::read(self.store.layout(), &id) {
                Ok(None) => continue,
                Ok(Some(_)) => {}
                Err(e) => {
                    self.findings.push(Finding::ContainerDamaged { id: id.clone(), reason: reason(&e) })
                }
            }
            let Some(dir) = self.store.layout().containers.sub_if_there(id.as_str())? else { continue };
            for name in container::missing_directories(&dir)? {
                let reason = format!("its directory {name} is missing");
                self.findings.push(Finding::ContainerDamaged { id: id.clone(), reason });
            }
        }
        Ok(())
    }

    fn unreachable(&mut self, reach: &Reach) -> Result<()> {
        let present = present(self.store.layout())?;
        let blobs = present.blobs.into_iter().filter(|digest| !reach.blobs.contains_key(digest));
        self.findings.extend(blobs.map(|digest| Finding::UnreachableBlob { digest }));
        let layers = present.layers.into_iter().filter(|chain_id| !reach.layers.contains_key(chain_id));
        self.findings.extend(layers.map(|chain_id| Finding::UnreachableLayer { chain_id }));
        Ok(())
    }

    /// Files among blobs, layers and containers that are none.
    fn strays(&mut self) -> Result<()> {
        let layout = self.store.layout();
        let is_digest = |name: &OsString| digests(vec![name.clone()]).next().is_some();
        let is_id = |name: &OsString| name.to_str().is_some_and(|name| name.parse::<ContainerId>().is_ok());
        let mut stray = |dir: &Dir, is_ours: &dyn Fn(&OsString) -> bool| {
            for name in dir.names()?.into_iter().filter(|name| !is_ours(name)) {
                self.findings.push(Finding::Stray { path: dir.path().join(name) });
            }
            Ok::<(), StoreError>(())
        };
        stray(&layout.blobs, &is_digest)?;
        stray(&layout.layers, &is_digest)?;
        stray(&layout.containers, &is_id)
    }

    /// What is in `tmp/` while no command writes.
    fn leftovers(&mut self) -> Result<()> {
        let layout = self.store.layout();
        let names = layout.tmp.names()?;
        if !names.is_empty() && !writer::is_locked(&layout.root)? {
            self.findings.extend(names.into_iter().map(|name| Finding::Leftover { name }));
        }
        Ok(())
    }
}

/// An error with what caused it, in one line.
pub(super) fn reason(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
