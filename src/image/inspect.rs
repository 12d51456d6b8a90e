//! What is known of an image or a container, in docker's words. Every field is there, also where nothing is known of it:
//! a template may name it.

use serde_json::{Map, Value, json};

use crate::oci::config::{ImageConfig, RunConfig};
use crate::oci::digest::ChainId;
use crate::oci::reference::Reference;
use crate::store::{Container, Store};

use super::catalog::{Catalog, Image};
use super::error::Result;
use super::history::{begins, layer_sizes};

/// The name of what puts layers together, where docker tells its storage driver's.
const DRIVER: &str = "plyfs";

/// An image's document, with the fields of `docker image inspect`.
///
/// # Errors
/// The configuration is missing or damaged.
pub fn inspect_image(store: &Store, catalog: &Catalog, image: &Image) -> Result<Value> {
    let config = image.config(store)?;
    let chains = ChainId::of_layers(&config.rootfs.diff_ids);
    let last = config.history.last();
    let dirs: Vec<String> = chains.iter().rev().filter_map(|chain| layer_dir(store, *chain)).collect();
    let size: u64 = layer_sizes(store, image, &config)?.iter().fold(0, |sum, size| sum.saturating_add(*size));
    let text = |name: &str| config.extra.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(json!({
        "Id": image.id().to_string(),
        "RepoTags": image.names,
        "RepoDigests": repo_digests(image),
        "Parent": parent(store, catalog, image, &config),
        "Comment": last.and_then(|step| step.comment.clone()).unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_default(),
        "DockerVersion": text("docker_version"),
        "Author": config.author.clone().unwrap_or_default(),
        "Config": run_config(&config.config),
        "Architecture": config.architecture,
        "Variant": config.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "OsVersion": text("os.version"),
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {
            "Name": DRIVER,
            "Data": {
                "LowerDir": dirs.get(1..).unwrap_or_default().join(":"),
                "UpperDir": dirs.first().cloned().unwrap_or_default(),
            },
        },
        "RootFS": { "Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids },
        "Metadata": { "ManifestDigest": image.descriptor.digest, "MediaType": image.descriptor.media_type },
        "Descriptor": image.descriptor,
        "Layers": layers(store, &chains)?,
        "History": config.history,
    }))
}

/// A container's document, with the fields of `docker container inspect` that mean something here. `mountpoint` is where
/// it is mounted now.
pub fn inspect_container(store: &Store, container: &Container, mountpoint: Option<&str>) -> Value {
    let paths = store.container_paths(&container.id);
    let dirs: Vec<String> = container.layers.iter().filter_map(|chain| layer_dir(store, *chain)).collect();
    let config = &container.config;
    let parts = [config.entrypoint.as_deref(), config.cmd.as_deref()];
    let mut command = parts.into_iter().flatten().flatten();
    let state = if mountpoint.is_some() { "mounted" } else { "created" };
    json!({
        "Id": container.id.to_string(),
        "Name": container.name,
        "Created": container.created,
        "Path": command.next().cloned().unwrap_or_default(),
        "Args": command.collect::<Vec<_>>(),
        "State": { "Status": state, "Running": false, "Paused": false, "Pid": 0, "ExitCode": 0, "Error": "" },
        "Image": container.image.id.to_string(),
        "ImageName": container.image.name,
        "ImageManifestDescriptor": container.image.manifest,
        "Driver": DRIVER,
        "Platform": "linux",
        "Config": run_config(config),
        "Mounts": [],
        "Mounted": mountpoint.is_some(),
        "MountPoint": mountpoint.unwrap_or_default(),
        "GraphDriver": {
            "Name": DRIVER,
            "Data": {
                "LowerDir": dirs.join(":"),
                "UpperDir": paths.upper,
                "WorkDir": paths.work,
                "MergedDir": paths.merged,
            },
        },
    })
}

/// How a container is run, with every field that docker's has.
fn run_config(config: &RunConfig) -> Value {
    let defaults = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Image": "",
        "ExposedPorts": {}, "Env": [], "Entrypoint": [], "Cmd": [], "ArgsEscaped": false, "Healthcheck": null,
        "Volumes": {}, "WorkingDir": "", "OnBuild": [], "Labels": {}, "StopSignal": "", "Shell": [],
    });
    let mut fields: Map<String, Value> = defaults.as_object().cloned().unwrap_or_default();
    let own = serde_json::to_value(config).unwrap_or_default();
    let known = own.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    fields.extend(known.map(|(name, value)| (name.clone(), value.clone())));
    fields.into()
}

/// An unpacked layer's directory.
fn layer_dir(store: &Store, chain_id: ChainId) -> Option<String> {
    store.diff_dir(chain_id).map(|dir| dir.display().to_string())
}

/// What is known of each layer, the bottom one first.
fn layers(store: &Store, chains: &[ChainId]) -> Result<Vec<Value>> {
    let mut layers = Vec::new();
    for chain_id in chains {
        let meta = store.layer(*chain_id)?;
        layers.push(serde_json::to_value(meta).unwrap_or_default());
    }
    Ok(layers)
}

/// The image's repositories with its manifest's digest.
fn repo_digests(image: &Image) -> Vec<String> {
    let named = image.names.iter().filter_map(|name| name.parse::<Reference>().ok());
    let mut digests: Vec<String> = named
        .map(|reference| format!("{}@{}", reference.familiar_repository(), image.descriptor.digest))
        .collect();
    digests.sort();
    digests.dedup();
    digests
}

/// The ID of the image that this one was made from, where the store has it: the one with the longest history that
/// begins this one's.
fn parent(store: &Store, catalog: &Catalog, image: &Image, own: &ImageConfig) -> String {
    let others = catalog.images.iter().filter(|other| other.id() != image.id());
    let fits = others.filter_map(|other| {
        let earlier = other.config(store).ok()?;
        let shorter = earlier.history.len() < own.history.len();
        (shorter && begins(&earlier, own)).then_some((earlier.history.len(), other.id()))
    });
    fits.max_by_key(|(length, _)| *length).map_or_else(String::new, |(_, id)| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_say_nothing_are_there() {
        let config: RunConfig =
            serde_json::from_value(json!({"Cmd": ["sh"], "Entrypoint": null, "Other": 1})).expect("good");
        let value = run_config(&config);
        for (field, expected) in [
            ("Cmd", json!(["sh"])),
            ("Entrypoint", json!([])),
            ("Labels", json!({})),
            ("WorkingDir", json!("")),
            ("Healthcheck", Value::Null),
            ("Other", json!(1)),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
    }
}
