//! Names in the index: pure changes of an image layout's list of manifests.

use std::collections::BTreeMap;

use crate::oci::descriptor::{Descriptor, REF_NAME};
use crate::oci::digest::Digest;
use crate::oci::manifest::Index;

/// Lists the manifest under `name`, or without one. The image that had the name keeps its other names, or stays
/// without one.
pub fn assign(index: &mut Index, manifest: &Descriptor, name: Option<&str>) {
    match name {
        Some(name) => {
            release(index, name);
            index.manifests.retain(|entry| entry.digest != manifest.digest || entry.ref_name().is_some());
            index.manifests.push(entry(manifest, Some(name)));
        }
        None if index.manifests.iter().any(|entry| entry.digest == manifest.digest) => {}
        None => index.manifests.push(entry(manifest, None)),
    }
}

/// Takes a name away. Its image stays listed, without a name if this was the last one. Returns the manifest that
/// had the name.
pub fn release(index: &mut Index, name: &str) -> Option<Digest> {
    let at = index.manifests.iter().position(|entry| entry.ref_name() == Some(name))?;
    let digest = index.manifests[at].digest;
    let others = index.manifests.iter().filter(|entry| entry.digest == digest).count() > 1;
    if others {
        index.manifests.remove(at);
    } else {
        index.manifests[at].annotations.remove(REF_NAME);
    }
    Some(digest)
}

/// Takes an image with all its names off the list.
pub fn remove(index: &mut Index, manifest: Digest) {
    index.manifests.retain(|entry| entry.digest != manifest);
}

fn entry(manifest: &Descriptor, name: Option<&str>) -> Descriptor {
    let name = name.map(|name| (REF_NAME.to_owned(), name.to_owned()));
    Descriptor { annotations: BTreeMap::from_iter(name), platform: None, ..manifest.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type::MANIFEST;

    fn image(text: &str) -> Descriptor {
        Descriptor::of(MANIFEST, text.as_bytes())
    }

    fn listed(index: &Index) -> Vec<(Digest, Option<&str>)> {
        index.manifests.iter().map(|entry| (entry.digest, entry.ref_name())).collect()
    }

    #[test]
    fn an_image_has_several_names() {
        let mut index = Index::new(Vec::new());
        let one = image("1");
        assign(&mut index, &one, None);
        assign(&mut index, &one, None);
        assert_eq!(listed(&index), [(one.digest, None)]);
        assign(&mut index, &one, Some("a:latest"));
        assign(&mut index, &one, Some("b:1"));
        assign(&mut index, &one, Some("b:1"));
        assert_eq!(listed(&index), [(one.digest, Some("a:latest")), (one.digest, Some("b:1"))]);
        assert_eq!(release(&mut index, "a:latest"), Some(one.digest));
        assert_eq!(release(&mut index, "a:latest"), None);
        release(&mut index, "b:1");
        assert_eq!(listed(&index), [(one.digest, None)]);
    }

    #[test]
    fn a_name_moves_to_another_image_and_the_former_one_dangles() {
        let mut index = Index::new(Vec::new());
        let (one, two) = (image("1"), image("2"));
        assign(&mut index, &one, Some("a:latest"));
        assign(&mut index, &two, Some("a:latest"));
        assert_eq!(listed(&index), [(one.digest, None), (two.digest, Some("a:latest"))]);
        remove(&mut index, two.digest);
        assert_eq!(listed(&index), [(one.digest, None)]);
    }
}
