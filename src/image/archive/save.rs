//! Save: images as one archive that is docker's and an OCI image layout at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use super::docker::{self, ArchivedImage, Repositories};
use crate::image::catalog::Image;
use crate::image::error::{ImageError, Result};
use crate::image::make::json;
use crate::image::names;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::Index;
use crate::oci::reference::Reference;
use crate::store::Store;

/// What an archive is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Docker's and OCI's at once.
    Both,
    /// Docker's alone.
    Docker,
    /// OCI's alone.
    Oci,
}

/// An image to be saved, and the names that are saved with it.
#[derive(Debug, Clone)]
pub struct Saved<'a> {
    /// The image.
    pub image: &'a Image,
    /// Names in their familiar form; none where it was asked for by its ID.
    pub names: Vec<String>,
}

/// Writes images to `out`, layers that several have once. Equal images make equal bytes.
///
/// # Errors
/// A blob is missing or damaged, or `out` cannot be written. What was written by then is no archive.
pub fn save(store: &Store, images: &[Saved<'_>], format: ArchiveFormat, out: impl Write) -> Result<()> {
    let mut archive = Archive { tar: tar::Builder::new(out), dirs: BTreeSet::new() };
    let mut done = BTreeSet::new();
    let mut blobs: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    for saved in images {
        let manifest = &saved.image.manifest;
        let parts = [&saved.image.descriptor, &manifest.config].into_iter().chain(&manifest.layers);
        blobs.extend(parts.map(|blob| (blob.digest, blob.clone())));
    }
    if format != ArchiveFormat::Docker {
        archive.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.bytes("index.json", &json(&index(images))?)?;
    }
    if format != ArchiveFormat::Oci {
        archive.bytes(docker::MANIFEST, &json(&docker_list(images))?)?;
        archive.bytes(docker::REPOSITORIES, &json(&repositories(images)?)?)?;
    }
    for (digest, descriptor) in &blobs {
        if done.insert(*digest) {
            let mut blob = store.open_blob(descriptor)?;
            archive.file(&blob_path(*digest), descriptor.size, &mut blob)?;
            blob.finish()?;
        }
    }
    archive.tar.into_inner().and_then(|mut out| out.flush()).map_err(ImageError::io("write the archive"))
}

/// Where a blob lies in an archive.
fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn index(images: &[Saved<'_>]) -> Index {
    let mut index = Index::new(Vec::new());
    for saved in images {
        names::assign(&mut index, &saved.image.descriptor, None);
        for name in &saved.names {
            names::assign(&mut index, &saved.image.descriptor, Some(name));
        }
    }
    index
}

fn docker_list(images: &[Saved<'_>]) -> Vec<ArchivedImage> {
    let listed = |saved: &Saved<'_>| ArchivedImage {
        config: blob_path(saved.image.manifest.config.digest),
        repo_tags: saved.names.clone(),
        layers: saved.image.manifest.layers.iter().map(|layer| blob_path(layer.digest)).collect(),
    };
    images.iter().map(listed).collect()
}

fn repositories(images: &[Saved<'_>]) -> Result<Repositories> {
    let mut repositories = Repositories::new();
    for saved in images {
        for name in &saved.names {
            let reference: Reference =
                name.parse().map_err(|e| ImageError::Damaged(format!("the name {name:?}: {e}")))?;
            let tag = reference.tag().unwrap_or("latest").to_owned();
            let top = saved.image.manifest.layers.last().map_or_else(String::new, |layer| layer.digest.hex());
            repositories.entry(reference.familiar_repository()).or_default().insert(tag, top);
        }
    }
    Ok(repositories)
}

/// A tar whose entries bear nothing but names and bytes.
struct Archive<W: Write> {
    tar: tar::Builder<W>,
    dirs: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.file(path, bytes.len() as u64, &mut io::Cursor::new(bytes))
    }

    fn file(&mut self, path: &str, size: u64, content: &mut impl Read) -> Result<()> {
        let mut parent = String::new();
        for name in path.rsplit_once('/').map_or("", |(dir, _)| dir).split('/').filter(|n| !n.is_empty()) {
            parent = format!("{parent}{name}/");
            if self.dirs.insert(parent.clone()) {
                self.append(&parent, tar::EntryType::Directory, 0, &mut io::empty())?;
            }
        }
        self.append(path, tar::EntryType::Regular, size, content)
    }

    fn append(&mut self, path: &str, kind: tar::EntryType, size: u64, content: &mut impl Read) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(size);
        self.tar.append_data(&mut header, path, content).map_err(ImageError::io("write the archive"))
    }
}
