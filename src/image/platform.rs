//! What images run on: this machine's platform, platforms in text, and the choice from a list of manifests.

use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::manifest::Index;

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {}

/// The platform of this machine.
pub fn host() -> Platform {
    todo!()
}

/// Reads `os/architecture/variant`; the variant, and os or architecture, may be left out.
///
/// # Errors
/// The text is no platform.
pub fn parse(_: &str) -> Result<Platform, PlatformError> {
    todo!()
}

/// Writes `os/architecture/variant`.
pub fn format(_: &Platform) -> String {
    todo!()
}

/// The manifest that fits `wanted` best.
pub fn choose<'a>(_: &'a Index, _: &Platform) -> Option<&'a Descriptor> {
    todo!()
}

/// Whether an image for `offered` runs on `wanted`.
pub fn fits(_: &Platform, _: &Platform) -> bool {
    todo!()
}
