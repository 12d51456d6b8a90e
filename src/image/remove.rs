//! Names given and taken, images removed, and those that nothing uses pruned.

use crate::oci::manifest::Index;
use crate::oci::reference::Reference;
use crate::store::{Freed, Writer};

use super::catalog::{Catalog, Image};
use super::error::{ImageError, Result};
use super::names;
use super::time::{self, Timestamp};

/// Gives an image another name, which it takes from whoever has it. Returns the name in its familiar form.
///
/// # Errors
/// The store cannot be written.
pub fn tag(writer: &Writer<'_>, image: &Image, name: &Reference) -> Result<String> {
    let name = name.clone().with_default_tag().familiar();
    let mut index = writer.store().index()?;
    names::assign(&mut index, &image.descriptor, Some(&name));
    writer.set_index(&index)?;
    Ok(name)
}

/// Takes a name away; the image stays.
///
/// # Errors
/// There is no such name, or the store cannot be written.
pub fn untag(writer: &Writer<'_>, name: &str) -> Result<()> {
    let reference: Reference = name.parse().map_err(|_| ImageError::NoImage { name: name.to_owned() })?;
    let mut index = writer.store().index()?;
    names::release(&mut index, &reference.with_default_tag().familiar())
        .ok_or_else(|| ImageError::NoImage { name: name.to_owned() })?;
    Ok(writer.set_index(&index)?)
}

/// Whether an image is removed although it has several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// No.
    No,
    /// With all its names.
    Yes,
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names taken away.
    pub untagged: Vec<String>,
    /// IDs of images that are gone.
    pub deleted: Vec<String>,
    /// What was freed.
    pub freed: Freed,
}

/// Removes the image called `name`: a name is taken away, and the image goes with its last one; an ID removes the
/// image. What no image and no container needs any more is deleted.
///
/// # Errors
/// There is no such image, it has several names, a container uses it, or the store cannot be written.
pub fn remove(writer: &Writer<'_>, name: &str, force: Force) -> Result<Removed> {
    let catalog = Catalog::read(writer.store())?;
    let image = catalog.find(name)?;
    let mut index = catalog.index.clone();
    let familiar = name.parse::<Reference>().map(|name| name.with_default_tag().familiar()).ok();
    let by_name = familiar.filter(|familiar| image.names.contains(familiar));
    if let Some(familiar) = by_name.filter(|_| image.names.len() > 1) {
        names::release(&mut index, &familiar);
        writer.set_index(&index)?;
        return Ok(Removed { untagged: vec![familiar], ..Removed::default() });
    }
    if image.names.len() > 1 && force == Force::No {
        return Err(ImageError::SeveralNames { image: image.id().to_string(), names: image.names.clone() });
    }
    let containers = writer.store().containers()?;
    if let Some(user) = containers.iter().find(|c| c.image.manifest.digest == image.descriptor.digest) {
        return Err(ImageError::InUse { image: image.label(), container: user.name.clone() });
    }
    names::remove(&mut index, image.descriptor.digest);
    let freed = writer.set_index_and_collect(&index)?;
    Ok(Removed { untagged: image.names.clone(), deleted: vec![image.id().to_string()], freed })
}

/// Which images a pruning takes.
#[derive(Debug, Clone, Default)]
pub struct PruneFilter {
    /// Named ones, too, that no container uses.
    pub all: bool,
    /// Only those made before this.
    pub until: Option<Timestamp>,
    /// Only those with this label, or with this label and value.
    pub labels: Vec<(String, Option<String>)>,
}

/// The images that a pruning takes: by default those without a name that no container uses.
///
/// # Errors
/// The store cannot be read.
pub fn plan_prune(writer: &Writer<'_>, catalog: &Catalog, filter: &PruneFilter) -> Result<Vec<Image>> {
    let containers = writer.store().containers()?;
    let mut taken = Vec::new();
    for image in &catalog.images {
        let used = containers.iter().any(|c| c.image.manifest.digest == image.descriptor.digest);
        if used || (!filter.all && !image.names.is_empty()) {
            continue;
        }
        if matches(writer, image, filter)? {
            taken.push(image.clone());
        }
    }
    Ok(taken)
}

/// Whether an image passes the filters.
fn matches(writer: &Writer<'_>, image: &Image, filter: &PruneFilter) -> Result<bool> {
    if filter.until.is_none() && filter.labels.is_empty() {
        return Ok(true);
    }
    let config = image.config(writer.store())?;
    if let Some(until) = filter.until {
        let created = config.created.as_deref().and_then(|text| time::parse(text).ok());
        if created.is_none_or(|created| created >= until) {
            return Ok(false);
        }
    }
    let labelled = |(name, value): &(String, Option<String>)| {
        let label = config.config.labels.get(name);
        label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label))
    };
    Ok(filter.labels.iter().all(labelled))
}

/// Removes these images and all that nothing needs any more.
///
/// # Errors
/// The store cannot be written.
pub fn prune(writer: &Writer<'_>, images: &[Image]) -> Result<Removed> {
    let mut index: Index = writer.store().index()?;
    let mut removed = Removed::default();
    for image in images {
        names::remove(&mut index, image.descriptor.digest);
        removed.untagged.extend(image.names.iter().cloned());
        removed.deleted.push(image.id().to_string());
    }
    removed.freed = writer.set_index_and_collect(&index)?;
    Ok(removed)
}
