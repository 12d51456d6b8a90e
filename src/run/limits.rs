//! Which limits this machine can keep: those whose control groups are there and ours to write.

use std::fs;
use std::path::PathBuf;

use super::error::RunError;
use super::rootless::Rights;
use super::settings::Limits;
use super::spec::Cgroups;
use crate::sys::fs::geteuid;

/// Where version 2 of control groups lists its controllers.
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// The form of the control groups that this process may make; an ordinary user may make none.
pub fn cgroups() -> Cgroups {
    if Rights::own() == Rights::Namespace {
        return Cgroups::None;
    }
    if fs::exists(CONTROLLERS).unwrap_or_default() {
        return Cgroups::Unified;
    }
    match separate_controllers(&mounts()).is_empty() {
        true => Cgroups::None,
        false => Cgroups::Separate,
    }
}

/// Where version 2 of control groups is mounted beside version 1 («hybrid»); `None` where only one of them is.
pub fn unified_beside_separate() -> Option<PathBuf> {
    beside_separate(&mounts())
}

/// Whether all of `limits` can be kept.
///
/// # Errors
/// [`RunError::Limit`]: the first that cannot.
pub fn check(limits: &Limits) -> Result<(), RunError> {
    if limits.is_empty() {
        return Ok(());
    }
    let there = match cgroups() {
        Cgroups::Unified => {
            let list = fs::read_to_string(CONTROLLERS).unwrap_or_default();
            list.split_whitespace().map(str::to_owned).collect()
        }
        Cgroups::Separate => separate_controllers(&mounts()),
        Cgroups::None => Vec::new(),
    };
    check_against(limits, &there, geteuid().is_root() && Rights::own() == Rights::Machine)
}

/// [`check`] against the controllers that are there.
fn check_against(limits: &Limits, there: &[String], privileged: bool) -> Result<(), RunError> {
    let wanted = [
        ("--memory", "memory", limits.memory.is_some()),
        ("--cpus", "cpu", limits.millicpus.is_some()),
        ("--pids-limit", "pids", limits.pids.is_some()),
    ];
    for (option, controller, _) in wanted.into_iter().filter(|(_, _, wanted)| *wanted) {
        let refused = |reason: String| Err(RunError::Limit { option, reason });
        if !privileged {
            return refused("an ordinary user has no control group to set it in".to_owned());
        }
        if !there.iter().any(|name| name == controller) {
            return refused(format!("this machine has no control group for {controller}"));
        }
    }
    Ok(())
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap_or_default()
}

/// The controllers of version 1 that are mounted, according to a table of mounts.
fn separate_controllers(mounts: &str) -> Vec<String> {
    let cgroup = |line: &&str| line.split(' ').nth(2) == Some("cgroup");
    let options = mounts.lines().filter(cgroup).filter_map(|line| line.split(' ').nth(3));
    options
        .flat_map(|options| options.split(','))
        .filter(|o| !["rw", "ro"].contains(o))
        .map(str::to_owned)
        .collect()
}

/// The mount point of version 2, if there are controllers of version 1, according to a table of mounts.
fn beside_separate(mounts: &str) -> Option<PathBuf> {
    if separate_controllers(mounts).is_empty() {
        return None;
    }
    let unified = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    unified.split(' ').nth(1).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_from_one() {
        let (separate, unified) =
            ("cgroup /c/cpu cgroup rw,cpu 0 0\n", "cgroup2 /c/unified cgroup2 rw 0 0\n");
        assert_eq!(beside_separate(&format!("{separate}{unified}")), Some(PathBuf::from("/c/unified")));
        assert_eq!(beside_separate(separate), None);
        assert_eq!(beside_separate(unified), None);
    }

    #[test]
    fn a_limit_that_cannot_be_kept_is_refused() {
        let table = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /c/cpu cgroup rw,cpu,cpuacct 0 0\nx /m cgroup2 rw,pids 0 0\n";
        let there = separate_controllers(table);
        let cpus = Limits { millicpus: Some(1), ..Limits::default() };
        assert!(check_against(&cpus, &there, true).is_ok());
        assert!(check_against(&cpus, &there, false).is_err());
        let pids = Limits { pids: Some(1), ..cpus };
        let refused = check_against(&pids, &there, true).expect_err("no pids");
        assert_eq!(
            refused.to_string(),
            "--pids-limit cannot be kept here: this machine has no control group for pids"
        );
        assert!(check_against(&Limits::default(), &[], false).is_ok());
    }
}
