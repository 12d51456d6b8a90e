//! The image of a container whose lower is this machine itself: one without layers, which no index lists.

use crate::oci::config::ImageConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::ImageId;
use crate::oci::manifest::Manifest;
use crate::oci::media_type;
use crate::store::{ContainerImage, Writer};

use super::error::Result;
use super::make::json;
use super::platform;

/// What such a container's image is called.
pub const NAME: &str = "(this machine)";

/// The image; it is put into the store where it is not there. As long as a container uses it, it stays.
///
/// # Errors
/// The store cannot be written.
pub fn image(writer: &Writer<'_>) -> Result<ContainerImage> {
    let host = platform::host();
    let config = ImageConfig {
        architecture: host.architecture,
        os: host.os,
        variant: host.variant,
        ..ImageConfig::default()
    };
    let config = json(&config)?;
    let manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), Vec::new());
    let bytes = json(&manifest)?;
    let descriptor = Descriptor::of(media_type::MANIFEST, &bytes);
    let found = writer.store().manifest(&descriptor).and_then(|manifest| writer.store().config(&manifest));
    if found.is_err() {
        let mut transaction = writer.transaction();
        transaction.add_blob(writer.stage_bytes(&config)?);
        transaction.add_blob(writer.stage_bytes(&bytes)?);
        transaction.publish(&writer.store().index()?)?;
    }
    let id = ImageId::new(manifest.config.digest);
    Ok(ContainerImage { manifest: descriptor, id, name: NAME.to_owned() })
}
