//! What /proc says of the mount that a directory is reached through.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether the mount maps ids itself (`idmapped` in mountinfo).
pub fn is_idmapped(dir: BorrowedFd<'_>) -> bool {
    let Some(id) = mount_id(dir) else { return false };
    let Ok(table) = std::fs::read_to_string("/proc/self/mountinfo") else { return false };
    table.lines().any(|line| is_idmapped_line(line, id))
}

/// The mount's number.
fn mount_id(dir: BorrowedFd<'_>) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")).and_then(|id| id.trim().parse().ok())
}

fn is_idmapped_line(line: &str, id: u64) -> bool {
    let mut fields = line.split(' ');
    let this = fields.next().and_then(|f| f.parse::<u64>().ok());
    this == Some(id) && fields.nth(4).is_some_and(|options| options.split(',').any(|o| o == "idmapped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_found_on_the_right_line() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime,idmapped master:1 - ext3 /dev/root rw";
        assert!(is_idmapped_line(line, 36));
        assert!(!is_idmapped_line(line, 35));
        assert!(!is_idmapped_line("36 35 98:0 / /mnt rw - ext3 /dev/root rw", 36));
    }
}
