//! Names given and taken, images removed, pruned, and what that frees.

use plyfs::image::remove::{Force, PruneFilter, plan_prune, prune, remove, tag, untag};
use plyfs::image::time;
use plyfs::image::usage::usage;

use crate::harness::{Images, plain_commit};

#[test]
fn an_image_is_found_by_name_id_digest_and_beginning() {
    let images = Images::new();
    let image = images.import("docker.io/library/base", &["a=1"], &[]);
    let id = image.id().to_string();
    let hex = image.id().digest().hex();
    let digest = format!("base@{}", image.descriptor.digest);
    for name in ["base", "base:latest", "docker.io/library/base:latest", &id, &hex, &hex[..12], &digest] {
        assert_eq!(images.catalog().find(name).expect(name).id(), image.id());
    }
    for name in ["other", "base:1", "", "zz", "sha256:", "BASE"] {
        assert!(images.catalog().find(name).is_err(), "{name}");
    }
}

#[test]
fn the_image_goes_with_its_last_name() {
    let images = Images::new();
    let image = images.import("one", &["a=1"], &[]);
    let writer = images.store.lock().expect("locked");
    tag(&writer, &image, &"two:2".parse().expect("a name")).expect("tagged");
    let id = image.id().to_string();
    assert!(remove(&writer, &id, Force::No).is_err(), "it has several names");
    assert_eq!(remove(&writer, "one", Force::No).expect("removed").untagged, ["one:latest"]);
    untag(&writer, "two:2").expect("untagged");
    assert!(untag(&writer, "two:2").is_err());
    assert_eq!(images.catalog().images.len(), 1, "it stays without a name");
    assert_eq!(remove(&writer, &id, Force::No).expect("removed").deleted, [id]);
    drop(writer);
    assert!(images.catalog().images.is_empty());
    assert!(std::fs::read_dir(images.store.root().join("blobs/sha256")).expect("listed").next().is_none());
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn nothing_in_use_is_removed() {
    let images = Images::new();
    let base = images.import("base", &["a=1"], &[]);
    let container = images.container(&base, "web");
    images.write(&container, "b", "2");
    let app = images.commit(&container, "app", &plain_commit());
    let writer = images.store.lock().expect("locked");
    let error = remove(&writer, "base", Force::Yes).expect_err("in use").to_string();
    assert!(error.contains("web"), "{error}");
    remove(&writer, "app", Force::No).expect("removed");
    drop(writer);
    assert_eq!(images.tree(&base), ["a=1"], "the shared layer stays");
    assert!(images.catalog().find(&app.id().to_string()).is_err());
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn pruning_takes_what_nothing_uses() {
    let images = Images::new();
    images.import("base", &["a=1"], &["LABEL keep=yes"]);
    let dangling = images.import("base", &["a=2"], &[]);
    let used = images.import("used", &["a=3"], &[]);
    images.container(&used, "web");
    let writer = images.store.lock().expect("locked");
    untag(&writer, "base").expect("untagged");
    let plan = |filter: PruneFilter| {
        let plan = plan_prune(&writer, &images.catalog(), &filter).expect("planned");
        plan.iter().map(|image| image.id()).collect::<Vec<_>>()
    };
    assert_eq!(plan(PruneFilter::default()).len(), 2);
    let label = ("keep".to_owned(), Some("yes".to_owned()));
    assert_eq!(plan(PruneFilter { labels: vec![label], ..PruneFilter::default() }).len(), 1);
    let early = time::parse("2000-01-01T00:00:00Z").expect("a time");
    assert_eq!(plan(PruneFilter { all: true, until: Some(early), ..PruneFilter::default() }).len(), 0);
    assert!(!plan(PruneFilter { all: true, ..PruneFilter::default() }).contains(&used.id()));
    assert!(plan(PruneFilter::default()).contains(&dangling.id()));

    let taken = plan_prune(&writer, &images.catalog(), &PruneFilter::default()).expect("planned");
    let foreseen = usage(&images.store, &images.catalog(), |_| false).expect("measured").images.reclaimable;
    let removed = prune(&writer, &taken).expect("pruned");
    assert_eq!(removed.deleted.len(), 2);
    assert_eq!(removed.freed.bytes, foreseen);
    drop(writer);
    assert_eq!(images.catalog().images.len(), 1);
    assert_eq!(images.findings(), [""; 0]);
}
