//! Templates for `--format`: the part of Go's text/template that people use with docker.

use serde_json::Value;

/// Why a template cannot be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {}

/// Renders `template` over `value`.
///
/// # Errors
/// The template is not well formed, or names a field that is not there.
pub fn render(_: &str, _: &Value) -> Result<String, FieldPathError> {
    todo!()
}
