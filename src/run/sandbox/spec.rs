//! The `config.json` of a sandbox's bundle: the caller's own user, environment and host name; every union where its
//! lower is; the kernel's file systems fresh; the place where images and containers are kept hidden. Pure.

use std::path::Path;

use serde_json::{Value, json};

use super::Union;
use super::caller::{Privilege, Role};
use crate::oci::config::RunConfig;
use crate::run::error::RunError;
use crate::run::rootless::Rights;
use crate::run::settings::Settings;
use crate::run::spec::{self, Bundle, Cgroups, Process};

/// All that it is made of.
#[derive(Debug, Clone)]
pub struct SandboxBundle<'a> {
    /// The container's ID.
    pub id: &'a str,
    /// The unions, that over the root first.
    pub unions: &'a [Union],
    /// Files of this machine on mounts of their own, which are shown and cannot be written.
    pub files: &'a [&'a Path],
    /// Program, environment, working directory.
    pub config: &'a RunConfig,
    /// Network and terminal.
    pub settings: &'a Settings,
    /// As whom.
    pub role: &'a Role,
    /// The directory that is not shown.
    pub hidden: &'a Path,
    /// Which form the control groups of this machine have.
    pub cgroups: Cgroups,
    /// Whose rights it is made with.
    pub rights: Rights,
    /// What system calls it may make.
    pub seccomp: Option<Value>,
}

/// The `config.json`.
///
/// # Errors
/// [`RunError::NoCommand`], [`RunError::Nul`].
pub fn bundle(sandbox: SandboxBundle<'_>) -> Result<Value, RunError> {
    let SandboxBundle { settings, unions, role, .. } = &sandbox;
    let root = unions.first().map(|union| &union.merged);
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process(&sandbox)?,
        "root": { "path": root, "readonly": false },
        "mounts": mounts(&sandbox),
        "linux": linux(&sandbox, settings, role),
    }))
}

fn process(sandbox: &SandboxBundle<'_>) -> Result<Value, RunError> {
    let SandboxBundle { config, role, settings, .. } = sandbox;
    let terminal = settings.terminal;
    let mut process = spec::process(&Process { config, identity: &role.identity, hostname: None, terminal })?;
    if role.privilege == Privilege::None {
        process["capabilities"] = json!({});
        process["noNewPrivileges"] = json!(true);
    }
    Ok(process)
}

/// The parts of the tree first: what is fresh may lie on one of them.
fn mounts(sandbox: &SandboxBundle<'_>) -> Vec<Value> {
    let part = |union: &Union| {
        json!({
            "destination": union.path, "type": "bind", "source": union.merged,
            "options": ["bind", "rprivate"],
        })
    };
    let file = |path: &&Path| {
        json!({
            "destination": path, "type": "bind", "source": path,
            "options": ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"],
        })
    };
    let mut mounts: Vec<Value> = sandbox.unions.iter().skip(1).map(part).collect();
    mounts.extend(sandbox.files.iter().map(file));
    mounts.extend(spec::kernel_mounts(sandbox.rights, sandbox.settings, sandbox.cgroups));
    mounts
}

fn linux(sandbox: &SandboxBundle<'_>, settings: &Settings, role: &Role) -> Value {
    let mut linux = spec::linux(&Bundle {
        id: sandbox.id,
        root: sandbox.hidden,
        config: sandbox.config,
        settings,
        identity: &role.identity,
        own_files: sandbox.hidden,
        cgroups: sandbox.cgroups,
        rights: sandbox.rights,
        seccomp: sandbox.seccomp.clone(),
    });
    if let Some(masked) = linux["maskedPaths"].as_array_mut() {
        masked.push(json!(sandbox.hidden));
    }
    if let Some((uids, gids)) = &role.mappings {
        if let Some(namespaces) = linux["namespaces"].as_array_mut() {
            namespaces.push(json!({ "type": "user" }));
        }
        linux["uidMappings"] = uids.clone();
        linux["gidMappings"] = gids.clone();
    }
    linux
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::sandbox::Sandbox;
    use crate::run::user::Identity;

    fn made(privilege: Privilege, mappings: Option<(Value, Value)>) -> Value {
        let unions = Sandbox { parts: vec!["/home".into()], user: 0 }.unions(Path::new("/s/c/merged"));
        let config = RunConfig { cmd: Some(vec!["true".into()]), ..RunConfig::default() };
        let identity = Identity { uid: 0, gid: 0, groups: vec![], home: "/".into() };
        bundle(SandboxBundle {
            id: "x",
            unions: &unions,
            files: &[Path::new("/etc/hosts")],
            config: &config,
            settings: &Settings::default(),
            role: &Role { identity, mappings, privilege },
            hidden: Path::new("/s"),
            cgroups: Cgroups::None,
            rights: Rights::Machine,
            seccomp: None,
        })
        .expect("good")
    }

    #[test]
    fn nothing_of_the_machine_is_bound_writable() {
        let spec = made(Privilege::Containers, None);
        assert_eq!(spec["root"]["path"], "/s/c/merged");
        for mount in spec["mounts"].as_array().expect("mounts") {
            let source = mount["source"].as_str().expect("a source");
            let options = mount["options"].as_array().expect("options");
            let bound = mount["type"] == "bind";
            assert!(!bound || source.starts_with("/s/c/") || options.contains(&json!("ro")), "{mount}");
        }
        let masked = spec["linux"]["maskedPaths"].as_array().expect("paths");
        assert!(masked.contains(&json!("/s")) && masked.contains(&json!("/proc/kcore")));
        assert!(spec.get("hostname").is_none());
    }

    #[test]
    fn ordinary_users_gain_nothing() {
        let spec = made(Privilege::None, Some((json!([1]), json!([2]))));
        assert_eq!(spec["process"]["capabilities"], json!({}));
        assert_eq!(spec["process"]["noNewPrivileges"], true);
        assert_eq!(spec["linux"]["uidMappings"], json!([1]));
        assert!(spec["linux"]["namespaces"].as_array().expect("a list").contains(&json!({ "type": "user" })));
    }
}
