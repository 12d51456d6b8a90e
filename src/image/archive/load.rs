//! Load: the images of an archive into the store, every digest and size verified, every layer unpacked.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::docker::{self, ArchivedImage};
use super::parts::{ArchiveLimits, Parts};
use crate::image::error::{ImageError, Result};
use crate::image::make::json;
use crate::image::unpacked::{expect_diff_id, unpack_verified};
use crate::image::{names, platform};
use crate::layer::compress::decompress;
use crate::layer::unpack::UnpackOptions;
use crate::oci::config::ImageConfig;
use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::digest::{ChainId, DiffId, Digest, Digester, ImageId};
use crate::oci::json;
use crate::oci::manifest::{Index, Manifest};
use crate::oci::media_type::{self, Compression};
use crate::oci::reference::Reference;
use crate::store::{LayerMeta, StagedBlob, StagedDir, Writer};

/// The annotation with which containerd, and docker since version 25, gives an image's whole name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The choices of a load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Which of an image's platforms is wanted.
    pub platform: Platform,
    /// How much the archive may hold.
    pub limits: ArchiveLimits,
    /// How far layers are trusted.
    pub unpack: UnpackOptions,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            platform: platform::host(),
            limits: ArchiveLimits::default(),
            unpack: UnpackOptions::default(),
        }
    }
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its ID.
    pub id: ImageId,
    /// Its manifest's digest.
    pub manifest: Digest,
    /// The names it was given.
    pub names: Vec<String>,
}

/// An image of an archive, all its documents read.
struct Found {
    descriptor: Descriptor,
    manifest: Manifest,
    config: ImageConfig,
    names: Vec<String>,
}

/// Loads all images of a tar: docker's archive or an OCI image layout, compressed in any known way. All are loaded
/// or none.
///
/// # Errors
/// The archive is damaged or refused, or the store cannot be written; it is as before then.
pub fn load(writer: &Writer<'_>, input: impl Read, options: &LoadOptions) -> Result<Vec<Loaded>> {
    Loader::new(writer, options, Parts::from_tar(writer, input, &options.limits)?).run()
}

/// Loads all images of an OCI image layout that is a directory, as [`load`] does.
///
/// # Errors
/// Those of [`load`].
pub fn load_directory(writer: &Writer<'_>, root: &Path, options: &LoadOptions) -> Result<Vec<Loaded>> {
    Loader::new(writer, options, Parts::from_directory(writer, root, &options.limits)?).run()
}

/// A load under way.
struct Loader<'a> {
    writer: &'a Writer<'a>,
    options: &'a LoadOptions,
    parts: Parts,
    /// Layers that are unpacked but not published yet.
    layers: BTreeMap<ChainId, (LayerMeta, Option<StagedDir>)>,
    /// Diff IDs of blobs that were read through.
    known: HashMap<Digest, DiffId>,
    /// Documents that the archive lacks and that were made.
    made: Vec<StagedBlob>,
}

impl<'a> Loader<'a> {
    fn new(writer: &'a Writer<'a>, options: &'a LoadOptions, parts: Parts) -> Loader<'a> {
        Loader { writer, options, parts, layers: BTreeMap::new(), known: HashMap::new(), made: Vec::new() }
    }

    fn run(mut self) -> Result<Vec<Loaded>> {
        let images = self.find_images()?;
        if images.is_empty() {
            return Err(ImageError::Archive("it holds no image".to_owned()));
        }
        for image in &images {
            self.check_layers(image)?;
        }
        let mut index = self.writer.store().index()?;
        let mut loaded = Vec::new();
        for image in &images {
            names::assign(&mut index, &image.descriptor, None);
            for name in &image.names {
                names::assign(&mut index, &image.descriptor, Some(name));
            }
            loaded.push(Loaded {
                id: ImageId::new(image.manifest.config.digest),
                manifest: image.descriptor.digest,
                names: image.names.clone(),
            });
        }
        self.publish(&images, &index)?;
        Ok(loaded)
    }

    /// The archive's images; from its image layout where it has one, since that tells digests.
    fn find_images(&mut self) -> Result<Vec<Found>> {
        let listed = self.parts.has(docker::MANIFEST);
        if self.parts.has("index.json") {
            let mut images = self.find_in_layout()?;
            if listed {
                self.add_docker_names(&mut images)?;
            }
            return Ok(images);
        }
        if listed {
            return self.docker_list()?.iter().map(|image| self.find_docker_image(image)).collect();
        }
        Err(ImageError::Archive(match self.parts.has(docker::REPOSITORIES) {
            true => {
                "it was written by a docker before version 1.10; load and save it with a later one".to_owned()
            }
            false => "it has neither manifest.json nor index.json, so it is no archive of images; \
                      a root file system is read by `plyfs import`"
                .to_owned(),
        }))
    }

    fn find_in_layout(&self) -> Result<Vec<Found>> {
        let index: Index = parse(&self.parts.document("index.json")?, "index.json")?;
        let mut images: Vec<Found> = Vec::new();
        for entry in &index.manifests {
            let Some(image) = self.find_manifest(entry)? else { continue };
            match images.iter_mut().find(|other| other.descriptor.digest == image.descriptor.digest) {
                Some(other) => other.names.extend(image.names),
                None => images.push(image),
            }
        }
        Ok(images)
    }

    /// The image that an entry of the index leads to; `None` for what is no image.
    fn find_manifest(&self, entry: &Descriptor) -> Result<Option<Found>> {
        const DEEPEST: usize = 4;
        let mut descriptor = entry.clone();
        for _ in 0..DEEPEST {
            if media_type::is_manifest(&descriptor.media_type) {
                return self.read_manifest(entry, &descriptor);
            }
            if !media_type::is_index(&descriptor.media_type) {
                return Ok(None);
            }
            let what = descriptor.digest.to_string();
            let list: Index = parse(&self.parts.described(&descriptor)?, &what)?;
            let chosen = platform::choose(&list, &self.options.platform).ok_or_else(|| {
                let wanted = platform::format(&self.options.platform);
                ImageError::Archive(format!("the image {what} has no manifest for {wanted}; see --platform"))
            })?;
            descriptor = chosen.clone();
        }
        Err(ImageError::Archive(format!("lists of manifests within {} go too deep", entry.digest)))
    }

    fn read_manifest(&self, entry: &Descriptor, descriptor: &Descriptor) -> Result<Option<Found>> {
        let bytes = self.parts.described(descriptor)?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|e| ImageError::Archive(format!("manifest {}: {e}", descriptor.digest)))?;
        let config = self.parts.described(&manifest.config)?;
        let config = parse_config(&config, &manifest.config.digest.to_string())?;
        let descriptor = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
        let annotation = entry.annotations.get(CONTAINERD_NAME).map(String::as_str).or(entry.ref_name());
        let names = annotation.map(familiar).transpose()?.into_iter().collect();
        Ok(Some(Found { descriptor, manifest, config, names }))
    }

    fn docker_list(&self) -> Result<Vec<ArchivedImage>> {
        parse(&self.parts.document(docker::MANIFEST)?, docker::MANIFEST)
    }

    /// The names in docker's list for images found in the image layout.
    fn add_docker_names(&self, images: &mut [Found]) -> Result<()> {
        for listed in self.docker_list()? {
            let Some(config) = self.parts.at(&listed.config) else { continue };
            let same = |image: &&mut Found| image.manifest.config.digest == config.digest();
            let Some(image) = images.iter_mut().find(same) else { continue };
            for name in &listed.repo_tags {
                let name = familiar(name)?;
                if !image.names.contains(&name) {
                    image.names.push(name);
                }
            }
        }
        Ok(())
    }

    /// An image of docker's list, which has no manifest: one is made, always the same.
    fn find_docker_image(&mut self, listed: &ArchivedImage) -> Result<Found> {
        let bytes = self.parts.document(&listed.config)?;
        let config = parse_config(&bytes, &listed.config)?;
        let mut layers = Vec::new();
        for path in &listed.layers {
            let missing = || ImageError::Archive(format!("the layer {path} is missing"));
            let blob = self.parts.at(path).ok_or_else(missing)?;
            let compression = compression(blob, path)?;
            layers.push(blob.descriptor(compression.layer_media_type()));
        }
        let names = listed.repo_tags.iter().map(|name| familiar(name)).collect::<Result<_>>()?;
        let manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &bytes), layers);
        let document = json(&manifest)?;
        self.made.push(self.writer.stage_bytes(&document)?);
        let descriptor = Descriptor::of(media_type::MANIFEST, &document);
        Ok(Found { descriptor, manifest, config, names })
    }

    /// Verifies and unpacks an image's layers, the bottom one first.
    fn check_layers(&mut self, image: &Found) -> Result<()> {
        let diff_ids = &image.config.rootfs.diff_ids;
        if diff_ids.len() != image.manifest.layers.len() {
            return Err(ImageError::Archive(format!(
                "the configuration {} has {} layers, the manifest {}",
                image.manifest.config.digest,
                diff_ids.len(),
                image.manifest.layers.len()
            )));
        }
        let mut parent = None;
        let mut lowers: Vec<PathBuf> = Vec::new();
        for (diff_id, blob) in diff_ids.iter().zip(&image.manifest.layers) {
            let mut meta = LayerMeta::new(parent, *diff_id, blob.clone());
            meta.config = Some(image.config.config.clone());
            meta.created.clone_from(&image.config.created);
            parent = Some(meta.chain_id);
            let dir = self.check_layer(meta, &lowers)?;
            lowers.insert(0, dir);
        }
        Ok(())
    }

    /// Verifies a layer and returns where it is unpacked.
    fn check_layer(&mut self, mut meta: LayerMeta, lowers: &[PathBuf]) -> Result<PathBuf> {
        let chain_id = meta.chain_id;
        if let Some((_, Some(dir))) = self.layers.get(&chain_id) {
            let dir = dir.path().to_owned();
            self.check_diff_id(&meta)?;
            return Ok(dir);
        }
        if let (Some(old), Some(dir)) =
            (self.writer.store().layer(chain_id)?, self.writer.store().diff_dir(chain_id))
        {
            if old.blob.digest != meta.blob.digest {
                self.check_diff_id(&meta)?;
            } else if self.parts.blob(meta.blob.digest).is_none() {
                // The store has it; that it is whole is seen when it is read.
                self.writer.store().open_blob(&meta.blob)?;
            }
            return Ok(dir);
        }
        let dir = self.writer.stage_dir()?;
        let mut blob = self.open(&meta.blob)?;
        let unpacked = unpack_verified(&mut blob, &meta, dir.path(), lowers, &self.options.unpack)?;
        drop(blob);
        self.known.insert(meta.blob.digest, unpacked.diff_id);
        meta.size = Some(unpacked.size);
        let path = dir.path().to_owned();
        self.layers.insert(chain_id, (meta, Some(dir)));
        Ok(path)
    }

    /// Reads a layer through whose files are there already, to hold it against its diff ID.
    fn check_diff_id(&mut self, meta: &LayerMeta) -> Result<()> {
        let found = match self.known.get(&meta.blob.digest) {
            Some(found) => *found,
            None => diff_id(self.open(&meta.blob)?)?,
        };
        self.known.insert(meta.blob.digest, found);
        expect_diff_id(&meta.blob, meta.diff_id, found)
    }

    /// A layer's blob, from the archive or else from the store.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>> {
        if self.parts.blob(blob.digest).is_none()
            && let Ok(stored) = self.writer.store().open_blob(blob)
        {
            return Ok(Box::new(stored));
        }
        Ok(Box::new(self.parts.expect(blob)?.open()?))
    }

    /// Publishes everything that the images need.
    fn publish(mut self, images: &[Found], index: &Index) -> Result<()> {
        let mut transaction = self.writer.transaction();
        for image in images {
            let needed =
                [&image.descriptor, &image.manifest.config].into_iter().chain(&image.manifest.layers);
            for descriptor in needed {
                if let Some(blob) = self.parts.take(descriptor.digest) {
                    transaction.add_blob(blob);
                }
            }
        }
        for blob in self.made {
            transaction.add_blob(blob);
        }
        for (meta, dir) in self.layers.into_values() {
            transaction.add_layer(meta, dir);
        }
        Ok(transaction.publish(index)?)
    }
}

/// The digest of a layer's uncompressed tar.
fn diff_id(blob: impl Read) -> Result<DiffId> {
    let (_, mut tar) = decompress(blob).map_err(ImageError::io("read a layer"))?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match tar.read(&mut buffer).map_err(ImageError::io("read a layer"))? {
            0 => return Ok(DiffId::new(digester.finish())),
            n => digester.update(&buffer[..n]),
        }
    }
}

/// How a layer of docker's archive is compressed.
fn compression(blob: &StagedBlob, path: &str) -> Result<Compression> {
    let (format, _) = decompress(blob.open()?).map_err(ImageError::io("read a layer"))?;
    let other =
        || ImageError::Archive(format!("the layer {path} is compressed in a way that layers are not"));
    format.of_layer().ok_or_else(other)
}

/// A name of an archive, as the index holds it.
fn familiar(name: &str) -> Result<String> {
    let reference: Reference =
        name.parse().map_err(|e| ImageError::Archive(format!("the name {name:?} is not valid: {e}")))?;
    Ok(reference.with_default_tag().familiar())
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    json::parse(bytes).map_err(|e| ImageError::Archive(format!("{what} cannot be understood: {e}")))
}

fn parse_config(bytes: &[u8], what: &str) -> Result<ImageConfig> {
    ImageConfig::parse(bytes).map_err(|e| ImageError::Archive(format!("the configuration {what}: {e}")))
}
