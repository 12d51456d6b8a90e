//! Option strings as the clients write them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::fuse::session::Access;
use crate::overlay::IdMap;
use crate::overlay::config::{RedirectDir, XattrPermissions};

fn read(text: &str) -> Result<Options, OptionError> {
    let mut options = Options::default();
    options.read(OsStr::new(text))?;
    options.finish()?;
    Ok(options)
}

fn good(text: &str) -> Options {
    let options = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(options.warnings, [], "{text}");
    options
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

#[test]
fn podmans_read_write_mount() {
    let options = good(concat!(
        "lowerdir=/s/l/A:/s/l/B,upperdir=/s/x/diff,workdir=/s/x/work,fsync=0,noacl,nodev,volatile,",
        "context=\"system_u:object_r:container_file_t:s0:c1,c2\",",
        "uidmapping=:0:100000:65536,gidmapping=:0:100000:65536,xattr_permissions=2"
    ));
    let config = &options.overlay;
    assert_eq!(config.lowers, paths(&["/s/l/A", "/s/l/B"]));
    assert_eq!(config.upper, Some(PathBuf::from("/s/x/diff")));
    assert_eq!(config.work, Some(PathBuf::from("/s/x/work")));
    assert!(config.volatile && !config.acl && !options.service.acl);
    assert_eq!(config.uid_map, IdMap::parse("0:100000:65536").unwrap());
    assert_eq!(config.gid_map, IdMap::parse("0:100000:65536").unwrap());
    assert_eq!(config.xattr_permissions, XattrPermissions::User);
    assert_eq!(options.session.flags, MountFlags::NODEV);
    assert_eq!(options.session.labels, ["context=\"system_u:object_r:container_file_t:s0:c1,c2\""]);
}

#[test]
fn podmans_read_only_mount() {
    let options = good("lowerdir=/s/x/diff:l/A:l/../B,ro");
    assert_eq!(options.overlay.lowers, paths(&["/s/x/diff", "l/A", "l/../B"]));
    assert_eq!(options.overlay.upper, None);
    assert_eq!(options.session.flags, MountFlags::RDONLY);
}

#[test]
fn a_stack_without_an_upper_is_read_only_unasked() {
    assert_eq!(good("lowerdir=a:b").session.flags, MountFlags::RDONLY);
    assert_eq!(good("lowerdir=a:b,rw").session.flags, MountFlags::RDONLY);
}

#[test]
fn single_mappings_come_as_squashes() {
    let options = good("lowerdir=a,squash_to_uid=1000,squash_to_gid=100");
    assert_eq!((options.overlay.squash_uid, options.overlay.squash_gid), (Some(1000), Some(100)));
    let options = good("lowerdir=a,squash_to_root");
    assert_eq!((options.overlay.squash_uid, options.overlay.squash_gid), (Some(0), Some(0)));
}

#[test]
fn overlay_volumes_escape_colons_and_add_a_propagation() {
    let options = good(r"lowerdir=/src/a\:b:,upperdir=/u,workdir=/w,private");
    assert_eq!(options.overlay.lowers, paths(&["/src/a:b"]));
    assert_eq!(good("lowerdir=a::b").overlay.lowers, paths(&["a", "b"]));
}

#[test]
fn empty_options_are_skipped() {
    assert!(good("lowerdir=a,upperdir=u,workdir=w,,volatile").overlay.volatile);
    assert!(good(",lowerdir=a,upperdir=u,workdir=w,").overlay.upper.is_some());
}

#[test]
fn several_strings_add_up_as_containerd_sends_them() {
    let mut options = Options::default();
    for text in ["workdir=/w", "upperdir=/u", "lowerdir=/a:/b", "rw"] {
        options.read(OsStr::new(text)).unwrap();
    }
    options.finish().unwrap();
    assert_eq!(options.overlay.lowers, paths(&["/a", "/b"]));
    assert_eq!(options.session.flags, MountFlags::empty());
}

#[test]
fn what_mount_adds_is_understood() {
    let options =
        good("rw,lowerdir=/a,upperdir=/u,workdir=/w,dev,suid,x-systemd.automount,nofail,noauto,_netdev");
    assert_eq!(options.session.flags, MountFlags::empty());
    let options = good(
        "remount,ro,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions,allow_other,lowerdir=a",
    );
    assert!(options.remount);
    assert_eq!(
        options.flags.set,
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RELATIME
    );
}

#[test]
fn later_flags_win() {
    let flags = |text: &str| good(&format!("lowerdir=a,upperdir=u,workdir=w,{text}")).session.flags;
    assert_eq!(flags("ro,rw"), MountFlags::empty());
    assert_eq!(flags("rw,ro"), MountFlags::RDONLY);
    assert_eq!(flags("noatime,strictatime"), MountFlags::STRICTATIME);
    assert_eq!(
        flags("noexec,nodev,dev,dirsync,sync"),
        MountFlags::NOEXEC | MountFlags::DIRSYNC | MountFlags::SYNCHRONOUS
    );
}

#[test]
fn the_kernels_own_options() {
    let defaults = good("lowerdir=a").overlay;
    assert_eq!((defaults.redirect_dir, defaults.index, defaults.metacopy), (RedirectDir::On, true, false));
    let config = good("lowerdir=a,redirect_dir=off,index=off,metacopy=on,userxattr,xino=auto").overlay;
    assert_eq!((config.redirect_dir, config.index, config.metacopy), (RedirectDir::Off, false, true));
    assert!(config.user_xattr);
    assert_eq!(good("lowerdir=a,redirect_dir=follow").overlay.redirect_dir, RedirectDir::Off);
    assert_eq!(good("lowerdir=a,redirect_dir=nofollow").overlay.redirect_dir, RedirectDir::NoFollow);
    assert_eq!(good("lowerdir+=/a:b,lowerdir+=/c").overlay.lowers, paths(&["/a:b", "/c"]));
}

#[test]
fn the_adapters_options() {
    let service = good("lowerdir=a,timeout=1.5,threads=3,busy_poll=70,io=cached").service;
    assert_eq!(service.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(service.threads, Some(3));
    assert_eq!(service.busy_poll, Some(Duration::from_micros(70)));
    assert!(matches!(service.io, IoMode::Cached));
    assert_eq!(good("lowerdir=a,threaded=0").service.threads, Some(1));
    assert_eq!(good("lowerdir=a,threaded=1").service.threads, None);
    assert!(matches!(good("lowerdir=a,allow_root").session.access, Access::RootAndOwner));
    let service = good("lowerdir=a,noxattrs=1,ino32_t").service;
    assert!(!service.xattrs && !service.acl);
    assert!(good("lowerdir=a,noxattrs=0").service.xattrs);
}

#[test]
fn the_source_is_shown_as_given() {
    assert_eq!(good("lowerdir=a").session.source, "plyfs");
    assert_eq!(good(r"lowerdir=a,fsname=x\,y").session.source, "x,y");
    assert_eq!(good("lowerdir=a,subtype=other").session.subtype, "other");
}

#[test]
fn paths_keep_their_bytes() {
    let mut options = Options::default();
    options.read(OsStr::from_bytes(b"lowerdir=/a\xff:/b\\,\xfe,upperdir=/\xfd,workdir=/w")).unwrap();
    assert_eq!(options.overlay.lowers[1].as_os_str().as_bytes(), b"/b,\xfe");
    assert_eq!(options.overlay.upper.unwrap().as_os_str().as_bytes(), b"/\xfd");
}

#[test]
fn a_read_only_upper_without_work_is_the_topmost_lower() {
    let options = good("lowerdir=a,upperdir=u,ro");
    assert_eq!((options.overlay.lowers, options.overlay.upper), (paths(&["u", "a"]), None));
    let options = good("lowerdir=a,upperdir=u,workdir=w,ro");
    assert_eq!(options.overlay.upper, Some(PathBuf::from("u")));
    assert_eq!(options.session.flags, MountFlags::RDONLY);
}

#[test]
fn unknown_options_are_noted_and_passed_over() {
    let options = read("lowerdir=a,frobnicate,frob=1,plugins=x,workdir=w").unwrap();
    assert_eq!(
        options.warnings.iter().map(Warning::to_string).collect::<Vec<_>>(),
        [
            "unknown option \"frobnicate\" ignored",
            "unknown option \"frob=1\" ignored",
            "option \"plugins=x\" is not supported and ignored",
            "option \"workdir\" ignored: there is no upperdir",
        ]
    );
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("upperdir=u,workdir=w", "no lowerdir given"),
        ("lowerdir=,upperdir=u,workdir=w", "no lowerdir given"),
        ("lowerdir=a,upperdir=u", "upperdir u was given without a workdir"),
        ("lowerdir=a,upperdir=,workdir=w", "bad value in option \"upperdir=\": expected a directory"),
        ("lowerdir=a,uidmapping=1:2", "bad value in option \"uidmapping=1:2\""),
        ("lowerdir=a,timeout=soon", "expected a number of seconds"),
        ("lowerdir=a,volatile=1", "option \"volatile=1\" takes no value"),
        ("lowerdir=a,upperdir", "option \"upperdir\" needs a value"),
        ("lowerdir=a,io=fast", "expected passthrough, cached or auto"),
        ("lowerdir=a,squash_to_uid=root", "expected a user or group id"),
    ];
    for (text, message) in cases {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn the_user_is_shown_as_the_owner_of_what_is_roots() {
    for id in [1, 2, 1000, u32::MAX - 2, u32::MAX - 1] {
        let map = IdMap::parse(&shown_as_root(id)).expect("well formed");
        assert_eq!((map.to_view(0), map.to_disk(id)), (Some(id), Some(0)));
        assert_eq!(map.to_view(id), None, "its own id on disk is nobody's");
        for other in [1, 2, 5, 999, 1001, 65534, u32::MAX - 1] {
            assert_eq!(map.to_view(other), (other != id).then_some(other), "{other} of {id}");
        }
    }
}
