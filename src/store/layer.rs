//! What is known of a layer: the file `layer.json`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::oci::config::RunConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{ChainId, DiffId};

/// A layer on top of those below it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerMeta {
    /// The layer's identity in the store.
    pub chain_id: ChainId,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The layer below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ChainId>,
    /// The blob that holds it: digest, size, media type. Kept as long as the layer is.
    pub blob: Descriptor,
    /// The length of the uncompressed tar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the layer was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// In whose words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The run configuration that the layer was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RunConfig>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl LayerMeta {
    /// The layer with this diff ID on top of `parent`, held by `blob`; nothing else known.
    pub fn new(parent: Option<ChainId>, diff_id: DiffId, blob: Descriptor) -> LayerMeta {
        LayerMeta {
            chain_id: ChainId::over(parent, diff_id),
            diff_id,
            parent,
            blob,
            size: None,
            created: None,
            created_by: None,
            author: None,
            comment: None,
            config: None,
            extra: Map::new(),
        }
    }

    /// Whether the chain ID is that of the diff ID on top of the parent.
    pub fn is_consistent(&self) -> bool {
        self.chain_id == ChainId::over(self.parent, self.diff_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Digest;

    fn diff(text: &str) -> DiffId {
        DiffId::new(Digest::of(text.as_bytes()))
    }

    #[test]
    fn chains_go_from_the_bottom_up() {
        let (a, b, c) = (diff("a"), diff("b"), diff("c"));
        let bottom = ChainId::bottom(a);
        assert_eq!(ChainId::of_layers(&[a, b, c]), [bottom, bottom.with(b), bottom.with(b).with(c)]);
        assert!(ChainId::of_layers(&[]).is_empty());
    }

    #[test]
    fn fields_of_later_versions_survive() {
        let meta = LayerMeta::new(None, diff("a"), Descriptor::of("x", b"a"));
        let mut json = serde_json::to_value(&meta).expect("JSON");
        json["later"] = Value::from(7);
        let back: LayerMeta = serde_json::from_value(json.clone()).expect("a layer");
        assert!(back.is_consistent());
        assert_eq!(serde_json::to_value(&back).expect("JSON"), json);
    }

    #[test]
    fn another_chain_is_noticed() {
        let mut meta = LayerMeta::new(Some(ChainId::bottom(diff("a"))), diff("b"), Descriptor::of("x", b"a"));
        assert!(meta.is_consistent());
        meta.parent = None;
        assert!(!meta.is_consistent());
    }
}
