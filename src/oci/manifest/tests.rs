//! Manifests and lists as the image tools write them, and hostile ones.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Replaces `D` by a digest.
fn with_digest(text: &str) -> String {
    text.replace("\"D\"", "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"")
}

const DOCKER: &str = r#"{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
  "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1456, "digest": "D"},
  "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 29, "digest": "D"},
    {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "size": 9, "digest": "D",
     "urls": ["https://example.org/l"]}]}"#;

/// buildah, podman and skopeo leave the media type out, or write it; skopeo adds annotations.
const BUILDAH: &str = r#"{"schemaVersion":2,
  "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"D","size":700},
  "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"D","size":1},
    {"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"D","size":9223372036854775807,
     "annotations":{"io.github.containers.zstd-chunked.manifest-position":"1:2:3:1"}}],
  "annotations":{"org.opencontainers.image.base.name":"docker.io/library/debian:13"}}"#;

/// umoci's new image.
const UMOCI: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":
  {"mediaType":"application/vnd.oci.image.config.v1+json","digest":"D","size":7},"layers":null,"annotations":null}"#;

/// docker's save with the containerd store: a nested list, with attestations.
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
  {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"D","size":482,
   "annotations":{"org.opencontainers.image.ref.name":"latest"},
   "platform":{"architecture":"arm64","os":"linux","variant":"v8"}},
  {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"D","size":839,
   "annotations":{"vnd.docker.reference.digest":"D","vnd.docker.reference.type":"attestation-manifest"},
   "platform":{"architecture":"unknown","os":"unknown"}},
  {"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","digest":"D","size":3,
   "platform":{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["win32k"]}}]}"#;

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = format!("{:?}", Manifest::parse(with_digest(text).as_bytes()).expect_err(text));
    assert!(error.contains(expected), "{text}: {error}");
}

/// [`DOCKER`] with something else in it.
#[track_caller]
fn changed(from: &str, to: &str) -> String {
    assert!(DOCKER.contains(from), "{from}");
    DOCKER.replace(from, to)
}

#[test]
fn what_tools_write_survives_reading_and_writing() {
    for text in [DOCKER, BUILDAH] {
        let text = with_digest(text);
        let manifest = Manifest::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let original: Value = serde_json::from_str(&text).expect("json");
        assert_eq!(serde_json::to_value(manifest).expect("json"), original);
    }
    let text = with_digest(INDEX);
    let index = Index::parse(text.as_bytes()).expect("good");
    assert_eq!(index.manifests[0].ref_name(), Some("latest"));
    let original: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(serde_json::to_value(index).expect("json"), original);
}

#[test]
fn null_lists_are_empty() {
    let manifest = Manifest::parse(with_digest(UMOCI).as_bytes()).expect("good");
    assert!(manifest.layers.is_empty() && manifest.annotations.is_empty());
    let index = Index::parse(br#"{"schemaVersion":2,"manifests":null,"annotations":null}"#).expect("good");
    assert!(index.manifests.is_empty());
}

#[test]
fn bad_manifests_are_errors() {
    refused("{}", "schemaVersion");
    refused(&changed(": 2,", ": 1,"), "SchemaVersion(1)");
    refused(&changed("manifest.v2+json", "manifest.list.v2+json"), "a manifest\"");
    refused(&changed("container.image.v1+json", "plugin.v1+json"), "NoImage");
    refused(&changed("foreign.diff.tar.gzip", "diff.tar.lz4"), "diff.tar.lz4");
    refused(&changed(": 29,", ": 9223372036854775808,"), "9223372036854775808");
    refused(&changed(": 29,", ": 18446744073709551616,"), "invalid type");
    refused(&changed(": 29,", ": -1,"), "invalid value");
    refused(&changed(": 29,", ": 1.5,"), "invalid type");
    refused(&changed("\"D\"", "\"sha512:0\""), "not a sha256 digest");
    refused(&changed(": 29,", ": 29, \"size\": 30,"), "twice");
    refused(&changed("\"layers\": [", "\"layers\": {"), "key must be");
}

#[test]
fn an_index_is_no_manifest_and_a_manifest_no_index() {
    let (manifest, index) = (with_digest(DOCKER), with_digest(INDEX));
    assert!(matches!(Index::parse(manifest.as_bytes()), Err(ManifestError::MediaType { .. })));
    assert!(Manifest::parse(index.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert!(Manifest::parse(&bytes).is_err() && Index::parse(&bytes).is_err());
    }

    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        for text in [DOCKER, BUILDAH, INDEX].map(with_digest) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = with;
            if let Ok(manifest) = Manifest::parse(&bytes) {
                prop_assert_eq!(manifest.schema_version, SCHEMA_VERSION);
            }
            if let Ok(index) = Index::parse(&bytes) {
                prop_assert_eq!(index.schema_version, SCHEMA_VERSION);
            }
        }
    }
}
