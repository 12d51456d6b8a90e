//! On whose behalf an operation is done, and what the kernel says of them.

/// `CAP_SYS_ADMIN`.
const CAP_SYS_ADMIN: u32 = 21;

/// The caller of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller {
    /// User id as shown in the view.
    pub uid: u32,
    /// Group id as shown in the view.
    pub gid: u32,
    /// Process id, 0 where it is not known.
    pub pid: u32,
}

impl Caller {
    /// Whether the caller's process is in a group.
    pub fn is_in_group(self, gid: u32) -> bool {
        self.gid == gid
            || self
                .status_field("Groups:")
                .is_some_and(|all| all.split_whitespace().any(|g| g.parse() == Ok(gid)))
    }

    /// Whether the caller has CAP_SYS_ADMIN; root has where its process cannot be looked at.
    pub fn is_administrator(self) -> bool {
        let effective = self.status_field("CapEff:").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        self.uid == 0 && effective.is_none_or(|set| set & (1 << CAP_SYS_ADMIN) != 0)
    }

    /// A field of the caller's /proc/PID/status (proc(5)).
    fn status_field(self, field: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        status.lines().find_map(|line| line.strip_prefix(field)).map(str::to_owned)
    }
}
