//! Which images a listing shows: `--filter` and the name it is given, as with docker.

use crate::oci::config::ImageConfig;
use crate::oci::reference::Reference;
use crate::store::Store;

use super::catalog::{Catalog, Image};
use super::error::ImageError;
use super::glob::{Glob, GlobError};
use super::time::{self, Timestamp};

/// Filters. An image has to pass them all; of the references, one.
#[derive(Debug, Clone, Default)]
pub struct ImageFilter {
    /// Only images without a name, or only those with one.
    dangling: Option<bool>,
    /// Labels that it has: the name, or name and value.
    labels: Vec<(String, Option<String>)>,
    /// It was made before these.
    before: Vec<Timestamp>,
    /// It was made after these.
    since: Vec<Timestamp>,
    /// Names that fit.
    references: Vec<NamePattern>,
}

/// Why a filter makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// No filter is called so.
    #[error(
        "unknown filter {0:?}; known are dangling=true|false, label=NAME[=VALUE], before=IMAGE, since=IMAGE and \
         reference=PATTERN"
    )]
    Unknown(String),
    /// It is neither true nor false.
    #[error("dangling={0:?}: it has to be true or false")]
    Dangling(String),
    /// The image of `before=` or `since=` does not say when it was made.
    #[error("image {0} does not say when it was made, so that none is before or after it")]
    NoTime(String),
    /// The pattern of `reference=` is none.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// The image of `before=` or `since=` cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What a name has to fit.
#[derive(Debug, Clone)]
enum NamePattern {
    /// This name or repository, or that of this digest.
    Reference(Box<Reference>),
    /// The repository as docker shows it, or it with its tag.
    Glob(Glob),
}

impl NamePattern {
    fn parse(text: &str) -> Result<NamePattern, GlobError> {
        match text.parse::<Reference>() {
            Ok(reference) => Ok(NamePattern::Reference(Box::new(reference))),
            Err(_) => Glob::parse(text).map(NamePattern::Glob),
        }
    }

    fn fits(&self, image: &Image, name: &str) -> bool {
        let parsed = name.parse::<Reference>().ok();
        match self {
            NamePattern::Reference(wanted) => match (wanted.digest(), wanted.tag(), &parsed) {
                (_, _, None) => false,
                (Some(digest), _, Some(own)) => {
                    image.descriptor.digest == digest && own.repository() == wanted.repository()
                }
                (None, Some(_), Some(own)) => own.familiar() == wanted.familiar(),
                (None, None, Some(own)) => own.repository() == wanted.repository(),
            },
            NamePattern::Glob(glob) => {
                glob.matches(name) || parsed.is_some_and(|own| glob.matches(&own.familiar_repository()))
            }
        }
    }
}

impl ImageFilter {
    /// Reads `NAME=VALUE` filters, and `name`, which is another `reference=`.
    ///
    /// # Errors
    /// One makes no sense, or names an image that is not there.
    pub fn parse(
        store: &Store,
        catalog: &Catalog,
        filters: &[String],
        name: Option<&str>,
    ) -> Result<ImageFilter, FilterError> {
        let mut filter = ImageFilter::default();
        for text in filters {
            match text.split_once('=').unwrap_or((text, "")) {
                ("dangling", "true" | "1") => filter.dangling = Some(true),
                ("dangling", "false" | "0") => filter.dangling = Some(false),
                ("dangling", value) => return Err(FilterError::Dangling(value.to_owned())),
                ("label", value) if !value.is_empty() => filter.labels.push(match value.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (value.to_owned(), None),
                }),
                ("before", value) => filter.before.push(made(store, catalog, value)?),
                ("since", value) => filter.since.push(made(store, catalog, value)?),
                ("reference", value) => filter.references.push(NamePattern::parse(value)?),
                _ => return Err(FilterError::Unknown(text.clone())),
            }
        }
        filter.references.extend(name.map(NamePattern::parse).transpose()?);
        Ok(filter)
    }

    /// Whether an image passes, whatever its names are.
    pub fn passes(&self, image: &Image, config: &ImageConfig) -> bool {
        let labelled = |(name, value): &(String, Option<String>)| {
            let label = config.config.labels.get(name);
            label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label))
        };
        self.dangling.is_none_or(|dangling| dangling == image.names.is_empty())
            && self.labels.iter().all(labelled)
            && self.in_time(config)
    }

    fn in_time(&self, config: &ImageConfig) -> bool {
        if self.before.is_empty() && self.since.is_empty() {
            return true;
        }
        let Some(own) = config.created.as_deref().and_then(|text| time::parse(text).ok()) else {
            return false;
        };
        self.before.iter().all(|time| own < *time) && self.since.iter().all(|time| own > *time)
    }

    /// Whether an image is shown under this name; `None` stands for having none.
    pub fn shows(&self, image: &Image, name: Option<&str>) -> bool {
        let fits = |pattern: &NamePattern| name.is_some_and(|name| pattern.fits(image, name));
        self.references.is_empty() || self.references.iter().any(fits)
    }
}

/// When the image called `name` was made.
fn made(store: &Store, catalog: &Catalog, name: &str) -> Result<Timestamp, FilterError> {
    let created = catalog.find(name)?.config(store)?.created;
    let time = created.and_then(|text| time::parse(&text).ok());
    time.ok_or_else(|| FilterError::NoTime(name.to_owned()))
}
