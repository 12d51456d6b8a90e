//! Containers in the store.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use plyfs::store::{Finding, Store, StoreError};

use crate::harness::{Place, container_names, findings, image};

#[test]
fn a_container_is_made_found_changed_and_removed() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let app = image(&["base", "app"]);
    app.publish(&writer, "app").unwrap();
    let mut web = writer.create_container(app.container(Some("web"))).unwrap();
    assert_eq!(web.layers, [app.chains[1], app.chains[0]], "the top one first");
    let paths = place.store.container_paths(&web.id);
    assert!(paths.upper.is_dir() && paths.work.is_dir() && paths.merged.is_dir());
    assert_eq!(place.store.find_container("web").unwrap(), web);
    assert_eq!(place.store.find_container(&web.id.as_str()[..12]).unwrap(), web);

    web.name = "web2".to_owned();
    web.extra.insert("state".to_owned(), "running".into());
    writer.update_container(&web).unwrap();
    assert_eq!(place.store.find_container("web2").unwrap(), web);

    std::fs::write(paths.upper.join("f"), vec![1; 10_000]).unwrap();
    assert!(place.store.usage().unwrap().containers[0].upper >= 10_000);
    writer.remove_container(&web).unwrap();
    assert!(matches!(place.store.find_container("web2"), Err(StoreError::NoContainer { .. })));
    assert!(matches!(writer.remove_container(&web), Err(StoreError::NoContainer { .. })));
    assert!(matches!(writer.update_container(&web), Err(StoreError::NoContainer { .. })));
    drop(writer);
    place.assert_clean();
}

#[test]
fn names_are_unique_and_well_formed() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let app = image(&["base"]);
    app.publish(&writer, "app").unwrap();
    let web = writer.create_container(app.container(Some("web"))).unwrap();
    let mut other = writer.create_container(app.container(Some("other"))).unwrap();
    let taken = writer.create_container(app.container(Some("web")));
    assert!(matches!(taken, Err(StoreError::NameTaken { id, .. }) if id == web.id.as_str()));
    other.name = "web".to_owned();
    assert!(matches!(writer.update_container(&other), Err(StoreError::NameTaken { .. })));
    let bad = writer.create_container(app.container(Some("../x")));
    assert!(matches!(bad, Err(StoreError::ContainerName { .. })));
    let made_up: Vec<_> =
        (0..40).map(|_| writer.create_container(app.container(None)).unwrap().name).collect();
    assert!(made_up.iter().all(|name| name.contains('_')));
    assert_eq!(container_names(&place.store).len(), 42);
}

#[test]
fn a_container_needs_an_image() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let missing = writer.create_container(image(&["base"]).container(None));
    assert!(missing.is_err_and(|e| e.is_missing()));
}

#[test]
fn a_container_with_a_damaged_file_is_left_out_and_keeps_its_upper() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let app = image(&["base"]);
    app.publish(&writer, "app").unwrap();
    let web = writer.create_container(app.container(Some("web"))).unwrap();
    writer.create_container(app.container(Some("db"))).unwrap();
    let upper = place.store.container_paths(&web.id).upper;
    std::fs::write(upper.with_file_name("config.json"), "{").unwrap();
    assert_eq!(container_names(&place.store), ["db"]);
    assert!(matches!(writer.collect(), Err(StoreError::Uncertain(_))));
    let found = findings(&place.store);
    assert!(matches!(&found[..], [Finding::ContainerDamaged { id, .. }] if *id == web.id), "{found:?}");
    writer.repair(&found);
    assert!(upper.is_dir());
    writer.discard_container(&web.id, "web").unwrap();
    writer.collect().unwrap();
    drop(writer);
    place.assert_clean();
}

/// What the directory around a store passes on to what is made in it: an ACL that lets others in, and a group.
#[test]
fn a_containers_directories_inherit_nothing() {
    let place = tempfile::tempdir().unwrap();
    let outer = place.path().join("outer");
    std::fs::create_dir(&outer).unwrap();
    let acl = "u::rwx,g::rwx,o::rx,u:12345:rwx,m::rwx";
    let mut setfacl = std::process::Command::new("setfacl");
    let set = setfacl.args(["-d", "-m", acl]).arg(&outer).status();
    if !set.is_ok_and(|status| status.success()) {
        writeln!(std::io::stderr(), "SKIPPED: setfacl is not there, or no ACL can be set").unwrap();
        return;
    }
    std::fs::set_permissions(&outer, std::fs::Permissions::from_mode(0o2755)).unwrap();
    let store = Store::open(&outer.join("store")).unwrap();
    let writer = store.lock().unwrap();
    let app = image(&["base"]);
    app.publish(&writer, "app").unwrap();
    let web = writer.create_container(app.container(None)).unwrap();
    let staged = writer.stage_dir().unwrap();
    let paths = store.container_paths(&web.id);
    for (path, mode) in
        [(paths.upper.as_path(), 0o755), (&paths.work, 0o700), (&paths.merged, 0o755), (staged.path(), 0o755)]
    {
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode, "{}", path.display());
        let acl = std::process::Command::new("getfacl").args(["-cpsn"]).arg(path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&acl.stdout), "", "{}", path.display());
    }
}
