//! Which system calls a container may make: a profile in the form that docker and podman share, made fit for this
//! machine and for the container's capabilities.
//!
//! The profile itself is the one that is installed with the container tools of the machine, less what docker's
//! documentation names as blocked: the installed one may be laxer, podman's allows unshare(2). Where there is none, all
//! but the blocked ones are allowed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::RunError;
use super::spec::CAPABILITIES;

/// Where the profile of a machine lies; the first that is there counts.
const PLACES: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];

/// What may do what only an administrator of the whole machine should: keys, clocks, modules, mounts, tracing,
/// namespaces. Refused with EPERM.
const BLOCKED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vm86",
    "vm86old",
];

/// The flags of clone(2) that make namespaces.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// A profile as it is installed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    arch_map: Vec<Architectures>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architectures {
    architecture: String,
    #[serde(default)]
    sub_architectures: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Value>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

/// When a rule holds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    arches: Vec<String>,
    #[serde(default)]
    caps: Vec<String>,
    min_kernel: Option<String>,
}

/// A way to call the kernel that distributions switch off and next to nobody uses. A runtime works out its rules at every
/// start, a sixth of all it does.
const X32: &str = "SCMP_ARCH_X32";

/// The machine that a profile is made fit for.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// As profiles call it in `archMap`.
    architecture: &'static str,
    /// As profiles call it in conditions.
    name: &'static str,
    /// The kernel's version.
    kernel: (u32, u32),
}

/// Which profile is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The machine's.
    Installed(PathBuf),
    /// The list that stands in for it.
    BuiltIn,
}

/// The profile for a container on this machine, as a runtime takes it, and which one it is. `None` on an architecture
/// that is not known here.
///
/// # Errors
/// The installed profile cannot be read or understood.
pub fn profile() -> Result<(Option<Value>, Choice), RunError> {
    let machine = Machine::this();
    for place in PLACES.map(Path::new) {
        match std::fs::read(place) {
            Ok(bytes) => {
                let profile: Profile = serde_json::from_slice(&bytes)
                    .map_err(|source| RunError::Seccomp { path: place.to_owned(), source })?;
                return Ok((
                    machine.map(|machine| fit(&profile, machine)),
                    Choice::Installed(place.to_owned()),
                ));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(RunError::system("read", place)(e)),
        }
    }
    Ok((machine.map(built_in), Choice::BuiltIn))
}

impl Machine {
    fn this() -> Option<Machine> {
        let (architecture, name) = match std::env::consts::ARCH {
            "x86_64" => ("SCMP_ARCH_X86_64", "amd64"),
            "x86" => ("SCMP_ARCH_X86", "x86"),
            "aarch64" => ("SCMP_ARCH_AARCH64", "arm64"),
            "arm" => ("SCMP_ARCH_ARM", "arm"),
            "riscv64" => ("SCMP_ARCH_RISCV64", "riscv64"),
            "powerpc64" => ("SCMP_ARCH_PPC64LE", "ppc64le"),
            "s390x" => ("SCMP_ARCH_S390X", "s390x"),
            _ => return None,
        };
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Some(Machine { architecture, name, kernel: version(&release).unwrap_or((0, 0)) })
    }

    fn fulfils(&self, condition: &Condition) -> bool {
        (condition.arches.is_empty() || condition.arches.iter().any(|arch| arch == self.name))
            && condition.caps.iter().all(|cap| CAPABILITIES.contains(&cap.as_str()))
            && condition
                .min_kernel
                .as_deref()
                .is_none_or(|least| version(least).is_some_and(|v| self.kernel >= v))
    }

    fn is_excluded(&self, condition: &Condition) -> bool {
        condition.arches.iter().any(|arch| arch == self.name)
            || condition.caps.iter().any(|cap| CAPABILITIES.contains(&cap.as_str()))
            || condition
                .min_kernel
                .as_deref()
                .is_some_and(|least| version(least).is_some_and(|v| self.kernel >= v))
    }
}

/// The first two numbers of a kernel's version.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A profile as a runtime takes it.
fn fit(profile: &Profile, machine: Machine) -> Value {
    let mut architectures = BTreeSet::from([machine.architecture]);
    for map in profile.arch_map.iter().filter(|map| map.architecture == machine.architecture) {
        let others = map.sub_architectures.iter().map(String::as_str);
        architectures.extend(others.filter(|name| *name != X32));
    }
    let holds = |rule: &&Rule| machine.fulfils(&rule.includes) && !machine.is_excluded(&rule.excludes);
    let mut rules: Vec<Value> = profile.syscalls.iter().filter(holds).filter_map(rule).collect();
    rules.extend(always(machine));
    let mut fitted = json!({
        "defaultAction": profile.default_action, "architectures": architectures, "syscalls": rules,
    });
    if let Some(errno) = profile.default_errno_ret {
        fitted["defaultErrnoRet"] = errno.into();
    }
    fitted
}

/// A rule as a runtime takes it; `None` where it is about nothing but what is decided here.
fn rule(rule: &Rule) -> Option<Value> {
    let decided =
        |name: &&String| BLOCKED.contains(&name.as_str()) || ["clone", "clone3"].contains(&name.as_str());
    let names: Vec<&String> = rule.names.iter().chain(&rule.name).filter(|name| !decided(name)).collect();
    if names.is_empty() {
        return None;
    }
    let mut fitted = json!({ "names": names, "action": rule.action });
    if let Some(errno) = rule.errno_ret {
        fitted["errnoRet"] = errno.into();
    }
    if let Some(args) = rule.args.as_ref().filter(|args| !args.is_empty()) {
        fitted["args"] = args.clone().into();
    }
    Some(fitted)
}

/// What holds whatever the profile says.
fn always(machine: Machine) -> Vec<Value> {
    vec![
        json!({ "names": BLOCKED, "action": ERRNO, "errnoRet": EPERM }),
        // Its flags lie in memory, where no filter sees them; programs fall back to clone.
        json!({ "names": ["clone3"], "action": ERRNO, "errnoRet": ENOSYS }),
        clone_rule(machine, ALLOW, NAMESPACE_FLAGS, 0),
    ]
}

/// A rule for those calls of clone(2) whose flags, of those in `mask`, are `value`.
fn clone_rule(machine: Machine, action: &str, mask: u64, value: u64) -> Value {
    // On s390x the flags are the second argument.
    let index = if machine.name == "s390x" { 1 } else { 0 };
    let args = json!([{ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" }]);
    let mut rule = json!({ "names": ["clone"], "action": action, "args": args });
    if action == ERRNO {
        rule["errnoRet"] = EPERM.into();
    }
    rule
}

/// The list that stands in for a profile.
fn built_in(machine: Machine) -> Value {
    let mut architectures = vec![machine.architecture];
    match machine.name {
        "amd64" => architectures.push("SCMP_ARCH_X86"),
        "arm64" => architectures.push("SCMP_ARCH_ARM"),
        _ => {}
    }
    let mut rules = always(machine);
    // All but this is allowed anyway.
    rules.pop();
    let flags = (0..u64::BITS).map(|bit| 1u64 << bit).filter(|flag| NAMESPACE_FLAGS & flag != 0);
    rules.extend(flags.map(|flag| clone_rule(machine, ERRNO, flag, flag)));
    json!({ "defaultAction": ALLOW, "architectures": architectures, "syscalls": rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD64: Machine = Machine { architecture: "SCMP_ARCH_X86_64", name: "amd64", kernel: (6, 1) };

    fn fitted() -> Value {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "archMap": [
                { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
                { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] },
            ],
            "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {} },
                { "name": "old", "action": "SCMP_ACT_ALLOW", "args": null },
                { "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_CHROOT"] } },
                { "names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": { "caps": ["CAP_SYS_CHROOT"] } },
                { "names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["arm"] } },
                { "names": ["x"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["amd64"], "minKernel": "4.8" } },
                { "names": ["y"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "6.10" } },
                { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ" }] },
            ],
        });
        fit(&serde_json::from_value(profile).expect("a profile"), AMD64)
    }

    /// What a runtime takes must be what the specification says.
    fn check(value: &Value) {
        let parsed: Result<oci_spec::runtime::LinuxSeccomp, _> = serde_json::from_value(value.clone());
        parsed.expect("as the specification says");
    }

    #[test]
    fn conditions_are_settled() {
        let fitted = fitted();
        check(&fitted);
        assert_eq!(fitted["architectures"], json!(["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"]));
        assert_eq!(fitted["defaultErrnoRet"], 38);
        let rules: Vec<String> = fitted["syscalls"]
            .as_array()
            .expect("rules")
            .iter()
            .map(|rule| {
                format!("{} {}", rule["names"][0].as_str().unwrap_or("?"), rule["action"] == "SCMP_ACT_ALLOW")
            })
            .collect();
        let expected = [
            "read true",
            "old true",
            "chroot true",
            "x true",
            "personality true",
            "acct false",
            "clone3 false",
            "clone true",
        ];
        assert_eq!(rules, expected);
    }

    #[test]
    fn what_stands_in_is_well_formed() {
        let fitted = built_in(AMD64);
        check(&fitted);
        assert_eq!(fitted["syscalls"].as_array().expect("rules").len(), 2 + 7);
        let (profile, _) = profile().expect("this machine's");
        profile.iter().for_each(check);
    }
}
