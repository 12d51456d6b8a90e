//! The `config.json` of an OCI runtime bundle (OCI runtime specification 1.0), as docker would write it. Pure.

use std::path::Path;

use serde_json::{Value, json};

use super::error::RunError;
use super::rootless::Rights;
use super::settings::{Limits, Network, RootAccess, Settings};
use super::user::Identity;
use super::{command, command::Terminal};
use crate::oci::config::RunConfig;

/// The capabilities that docker gives.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What no program in a container may see.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What no program in a container may change.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The period, in microseconds, over which processor time is counted.
const CPU_PERIOD: u64 = 100_000;

/// How long a container's ID is as its host name.
const HOSTNAME_DIGITS: usize = 12;

/// All that a bundle's configuration is made of.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    /// The container's ID.
    pub id: &'a str,
    /// Where its root file system is mounted.
    pub root: &'a Path,
    /// What it runs.
    pub config: &'a RunConfig,
    /// How.
    pub settings: &'a Settings,
    /// As whom.
    pub identity: &'a Identity,
    /// The directory that holds its `resolv.conf`, `hosts` and `hostname`.
    pub own_files: &'a Path,
    /// Which form the control groups of this machine have.
    pub cgroups: Cgroups,
    /// Whose rights it is made with.
    pub rights: Rights,
    /// What system calls it may make.
    pub seccomp: Option<Value>,
}

/// The control groups of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// One tree (version 2).
    Unified,
    /// A tree for each controller (version 1), perhaps with one of version 2 beside them.
    Separate,
    /// None.
    None,
}

/// A program to be run in a container.
#[derive(Debug, Clone)]
pub struct Process<'a> {
    /// Program, environment and working directory.
    pub config: &'a RunConfig,
    /// As whom it runs.
    pub identity: &'a Identity,
    /// The container's host name, where it has one of its own.
    pub hostname: Option<&'a str>,
    /// Whether it has a terminal.
    pub terminal: Terminal,
}

/// The files of `/etc` that are not the image's.
pub const OWN_FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// The host name of a container.
pub fn hostname(id: &str, settings: &Settings) -> String {
    settings.hostname.clone().unwrap_or_else(|| id.chars().take(HOSTNAME_DIGITS).collect())
}

/// The `config.json` of a bundle.
///
/// # Errors
/// [`RunError::NoCommand`], [`RunError::Nul`].
pub fn bundle(bundle: &Bundle<'_>) -> Result<Value, RunError> {
    let Bundle { settings, config, identity, .. } = bundle;
    let hostname = hostname(bundle.id, settings);
    let terminal = settings.terminal;
    let first = Process { config, identity, hostname: Some(&hostname), terminal };
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process(&first)?,
        "root": { "path": bundle.root, "readonly": settings.root == RootAccess::ReadOnly },
        "hostname": hostname,
        "mounts": mounts(bundle),
        "annotations": annotations(config),
        "linux": linux(bundle),
    }))
}

/// The `process` of a bundle, and what `exec` hands to a runtime.
///
/// # Errors
/// As [`bundle`].
pub fn process(process: &Process<'_>) -> Result<Value, RunError> {
    let Process { config, identity, hostname, terminal } = process;
    // As docker: a program of another user starts with none, and finds them in set-user-id programs.
    let effective: &[&str] = if identity.uid == 0 { &CAPABILITIES } else { &[] };
    let cwd = super::root::cleaned(Path::new(&config.working_dir));
    Ok(json!({
        "terminal": *terminal == Terminal::Yes,
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
        "args": command::arguments(config)?,
        "env": command::environment(config, *hostname, *terminal, &identity.home)?,
        "cwd": cwd,
        "capabilities": { "bounding": CAPABILITIES, "effective": effective, "permitted": effective },
        "noNewPrivileges": false,
    }))
}

/// What a stopping runtime or another tool may ask for.
fn annotations(config: &RunConfig) -> Value {
    match &config.stop_signal {
        Some(signal) => json!({ "org.opencontainers.image.stopSignal": signal }),
        None => json!({}),
    }
}

/// The mounts: docker's, the container's own files, volumes, directories in memory.
fn mounts(bundle: &Bundle<'_>) -> Value {
    let mount = |target: &str, kind: &str, source: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({ "destination": target, "type": kind, "source": source, "options": options })
    };
    let pts = "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620";
    let (pts, sys) = match (bundle.rights, bundle.settings.network) {
        (Rights::Machine, _) => {
            (format!("{pts},gid=5"), mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"))
        }
        (Rights::Namespace, Network::None) => {
            (pts.to_owned(), mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"))
        }
        // The machine's network is not the namespace's, and sysfs shows it.
        (Rights::Namespace, Network::Host) => {
            (pts.to_owned(), mount("/sys", "bind", "/sys", "rbind,rslave,nosuid,noexec,nodev,ro"))
        }
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", &pts),
        sys,
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"),
    ];
    if shows_cgroups(bundle) {
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"));
    }
    for name in OWN_FILES {
        let source = bundle.own_files.join(name);
        mounts.push(bind(&source, &Path::new("/etc").join(name), RootAccess::ReadWrite));
    }
    for tmpfs in &bundle.settings.tmpfs {
        let options: Vec<&str> = ["nosuid", "nodev", "noexec"]
            .into_iter()
            .chain(tmpfs.options.iter().map(String::as_str))
            .collect();
        mounts.push(json!({
            "destination": tmpfs.target, "type": "tmpfs", "source": "tmpfs", "options": options,
        }));
    }
    for volume in &bundle.settings.volumes {
        mounts.push(bind(&volume.source, &volume.target, volume.access));
    }
    mounts.into()
}

/// Whether a program sees its control groups: in a tree for each controller only where they say something, as each costs
/// two mounts at the start.
fn shows_cgroups(bundle: &Bundle<'_>) -> bool {
    match bundle.cgroups {
        Cgroups::Unified => true,
        Cgroups::Separate => bundle.settings.limits != Limits::default(),
        Cgroups::None => false,
    }
}

fn bind(source: &Path, target: &Path, access: RootAccess) -> Value {
    let access = if access == RootAccess::ReadOnly { "ro" } else { "rw" };
    json!({ "destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate", access] })
}

/// The part that is Linux's: namespaces, control groups, what is hidden.
fn linux(bundle: &Bundle<'_>) -> Value {
    let mut namespaces = vec!["mount", "pid", "ipc", "uts"];
    let mut sysctl = json!({});
    if bundle.settings.network == Network::None {
        namespaces.push("network");
        // As docker: the ports of its own network are the container's.
        sysctl = json!({ "net.ipv4.ip_unprivileged_port_start": "0" });
        // Groups that are not mapped make no range.
        if bundle.rights == Rights::Machine {
            sysctl["net.ipv4.ping_group_range"] = json!("0 2147483647");
        }
    }
    if bundle.cgroups == Cgroups::Unified {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    let mut linux = json!({
        "namespaces": namespaces,
        "sysctl": sysctl,
        "resources": resources(&bundle.settings.limits),
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
    });
    if bundle.cgroups != Cgroups::None {
        linux["cgroupsPath"] = json!(format!("/plyfs-{}", bundle.id));
    }
    if let Some(seccomp) = &bundle.seccomp {
        linux["seccomp"] = seccomp.clone();
    }
    linux
}

/// What a container may use. All devices are denied; a runtime allows those that every container has.
fn resources(limits: &Limits) -> Value {
    let mut resources = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if let Some(bytes) = limits.memory {
        // As docker: as much swap again.
        resources["memory"] = json!({ "limit": bytes, "swap": bytes.saturating_mul(2).min(i64::MAX as u64) });
    }
    if let Some(millicpus) = limits.millicpus {
        let quota = millicpus.saturating_mul(CPU_PERIOD / 1000);
        resources["cpu"] = json!({ "quota": quota, "period": CPU_PERIOD });
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    resources
}

#[cfg(test)]
mod tests;
