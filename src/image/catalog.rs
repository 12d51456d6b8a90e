//! The images of a store, and how one is called: by name, digest, ID, or the beginning of an ID.

use crate::oci::config::ImageConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Digest, ImageId};
use crate::oci::manifest::{Index, Manifest};
use crate::oci::media_type;
use crate::oci::reference::Reference;
use crate::store::Store;

use super::error::{ImageError, Result};
use super::platform;

/// The fewest digits that are taken for the beginning of an ID.
const SHORTEST_PREFIX: usize = 2;

/// An image: what the index says, and its manifest.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's descriptor, without annotations.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// Its names in their familiar form, in the order of the index.
    pub names: Vec<String>,
}

impl Image {
    /// The digest of its configuration.
    pub fn id(&self) -> ImageId {
        ImageId::new(self.manifest.config.digest)
    }

    /// Its first name, or its ID where it has none.
    pub fn label(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| short(&self.id()))
    }

    /// Its configuration.
    ///
    /// # Errors
    /// The blob is missing or damaged.
    pub fn config(&self, store: &Store) -> Result<ImageConfig> {
        let config = store.config(&self.manifest)?;
        if config.rootfs.diff_ids.len() != self.manifest.layers.len() {
            return Err(ImageError::Damaged(format!(
                "the manifest of {} lists {} layers, its configuration {}",
                self.label(),
                self.manifest.layers.len(),
                config.rootfs.diff_ids.len()
            )));
        }
        Ok(config)
    }
}

/// The first twelve digits of an ID, as docker shows it.
pub fn short(id: &ImageId) -> String {
    id.digest().hex()[..12].to_owned()
}

/// The images of a store at one moment.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The index as it is stored.
    pub index: Index,
    /// The images, in the order of the index.
    pub images: Vec<Image>,
}

impl Catalog {
    /// Reads the store's index and the manifests that it names. An entry whose manifest cannot be read is passed
    /// over with a warning: `fsck` tells more.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn read(store: &Store) -> Result<Catalog> {
        let index = store.index()?;
        let mut images: Vec<Image> = Vec::new();
        for entry in &index.manifests {
            let (descriptor, manifest) = match read_manifest(store, entry) {
                Ok(found) => found,
                Err(e) => {
                    log::warn!("{} in the index is passed over: {e}", entry.digest);
                    continue;
                }
            };
            let name = entry.ref_name().map(str::to_owned);
            match images.iter_mut().find(|image| image.descriptor.digest == descriptor.digest) {
                Some(image) => image.names.extend(name),
                None => images.push(Image { descriptor, manifest, names: name.into_iter().collect() }),
            }
        }
        Ok(Catalog { index, images })
    }

    /// The image that a person calls `name`.
    ///
    /// # Errors
    /// There is none, or several have an ID that begins so.
    pub fn find(&self, name: &str) -> Result<&Image> {
        let missing = || ImageError::NoImage { name: name.to_owned() };
        if let Some(image) = self.by_name(name) {
            return Ok(image);
        }
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        if digits.len() < SHORTEST_PREFIX || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let matches = |digest: Digest| digest.hex().starts_with(&digits.to_ascii_lowercase());
        let mut found =
            self.images.iter().filter(|i| matches(i.id().digest()) || matches(i.descriptor.digest));
        let first = found.next().ok_or_else(missing)?;
        match found.find(|other| other.id() != first.id()) {
            Some(_) => Err(ImageError::Ambiguous { prefix: name.to_owned() }),
            None => Ok(first),
        }
    }

    /// The image with this name, or of this name's repository with this digest.
    fn by_name(&self, name: &str) -> Option<&Image> {
        let wanted: Reference = name.parse().ok()?;
        let Some(digest) = wanted.digest() else {
            let familiar = wanted.with_default_tag().familiar();
            return self.images.iter().find(|image| image.names.contains(&familiar));
        };
        self.images.iter().find(|image| image.descriptor.digest == digest)
    }

    /// The images whose names have the same repository as `name`, if it has neither tag nor digest.
    pub fn of_repository(&self, name: &str) -> Vec<(&Image, &str)> {
        let Ok(wanted) = name.parse::<Reference>() else { return Vec::new() };
        if wanted.tag().is_some() || wanted.digest().is_some() {
            return Vec::new();
        }
        let same = |name: &str| {
            name.parse::<Reference>().is_ok_and(|reference| reference.repository() == wanted.repository())
        };
        let named = self.images.iter().flat_map(|i| i.names.iter().map(move |name| (i, name.as_str())));
        named.filter(|(_, name)| same(name)).collect()
    }
}

/// The manifest that an entry of the index leads to; in a list of several platforms, this machine's.
fn read_manifest(store: &Store, entry: &Descriptor) -> Result<(Descriptor, Manifest)> {
    let bare = Descriptor { annotations: Default::default(), platform: None, ..entry.clone() };
    if !media_type::is_index(&entry.media_type) {
        return Ok((bare.clone(), store.manifest(&bare)?));
    }
    let list = store.nested_index(entry)?;
    let chosen = platform::choose(&list, &platform::host()).ok_or_else(|| {
        ImageError::Damaged(format!("{} holds no manifest for this platform", entry.digest))
    })?;
    let bare = Descriptor { annotations: Default::default(), platform: None, ..chosen.clone() };
    Ok((bare.clone(), store.manifest(&bare)?))
}
