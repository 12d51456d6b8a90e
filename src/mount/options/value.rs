//! The values of single options: switches, numbers, times, id maps.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::fuse::IoMode;
use crate::overlay::IdMap;
use crate::overlay::config::{RedirectDir, XattrPermissions};

/// From here on a timeout is as good as infinite (fuse-overlayfs's own default is this number).
const FOREVER_SECONDS: f64 = 1e9;

/// Why a value does not fit, to be shown behind the option's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub String);

/// The fault of a value that is none of what the option takes.
fn expected(what: &str) -> Fault {
    Fault(format!("expected {what}"))
}

/// `on` or `1` against `off` or `0`.
pub(super) fn switch(value: &OsStr) -> Result<bool, Fault> {
    match value.as_bytes() {
        b"on" | b"1" | b"true" | b"yes" => Ok(true),
        b"off" | b"0" | b"false" | b"no" => Ok(false),
        _ => Err(expected("on or off (or 1 or 0)")),
    }
}

/// A user or group id.
pub(super) fn id(value: &OsStr) -> Result<u32, Fault> {
    // The last number stands for "no id" in the kernel.
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|id| *id != u32::MAX);
    number.ok_or_else(|| expected("a user or group id"))
}

/// A number of threads.
pub(super) fn threads(value: &OsStr) -> Result<usize, Fault> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|n| (1..=256).contains(n));
    number.ok_or_else(|| expected("a number of threads between 1 and 256"))
}

/// Seconds, with fractions; `None` for a time so long that it is as good as infinite.
pub(super) fn timeout(value: &OsStr) -> Result<Option<Duration>, Fault> {
    let seconds = value.to_str().and_then(|text| text.parse::<f64>().ok()).filter(|s| *s >= 0.0);
    match seconds {
        Some(seconds) if seconds >= FOREVER_SECONDS => Ok(None),
        Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        None => Err(expected("a number of seconds, such as 0, 1.5 or inf")),
    }
}

/// Microseconds, up to 10,000.
pub(super) fn microseconds(value: &OsStr) -> Result<Duration, Fault> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|n| *n <= 10_000);
    number.map(Duration::from_micros).ok_or_else(|| expected("a number of microseconds up to 10000"))
}

/// `disk:shown:count` triples joined by colons, as podman writes them.
pub(super) fn id_map(value: &OsStr) -> Result<IdMap, Fault> {
    let text = value.to_str().ok_or_else(|| expected("numbers joined by colons"))?;
    IdMap::parse(text).map_err(|e| Fault(format!("{e}; expected ID:ID:COUNT, repeated, joined by colons")))
}

/// The modes of `redirect_dir`. Marks are always followed with `off`, as the kernel does by default.
pub(super) fn redirect_dir(value: &OsStr) -> Result<RedirectDir, Fault> {
    match value.as_bytes() {
        b"on" => Ok(RedirectDir::On),
        b"off" | b"follow" => Ok(RedirectDir::Off),
        b"nofollow" => Ok(RedirectDir::NoFollow),
        _ => Err(expected("on, off, follow or nofollow")),
    }
}

/// The modes of `xattr_permissions`. Modes 1 and 2 of fuse-overlayfs differ only in the name of the
/// attribute; one name is written here.
pub(super) fn xattr_permissions(value: &OsStr) -> Result<XattrPermissions, Fault> {
    match value.as_bytes() {
        b"0" => Ok(XattrPermissions::Off),
        b"1" | b"2" => Ok(XattrPermissions::User),
        _ => Err(expected("0, 1 or 2")),
    }
}

/// The modes of `io`.
pub(super) fn io_mode(value: &OsStr) -> Result<IoMode, Fault> {
    match value.as_bytes() {
        b"passthrough" => Ok(IoMode::Passthrough),
        b"cached" => Ok(IoMode::Cached),
        b"auto" => Ok(IoMode::Auto),
        _ => Err(expected("passthrough, cached or auto")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        for (text, expected) in
            [("on", Some(true)), ("1", Some(true)), ("off", Some(false)), ("0", Some(false))]
        {
            assert_eq!(switch(OsStr::new(text)).ok(), expected);
        }
        assert!(switch(OsStr::new("2")).is_err());
        assert!(switch(OsStr::from_bytes(b"\xff")).is_err());
    }

    #[test]
    fn times() {
        let read = |text: &str| timeout(OsStr::new(text));
        assert_eq!(read("0"), Ok(Some(Duration::ZERO)));
        assert_eq!(read("1.5"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(read("1000000000"), Ok(None));
        assert_eq!(read("inf"), Ok(None));
        for bad in ["", "-1", "nan", "x"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(microseconds(OsStr::new("0")), Ok(Duration::ZERO));
        assert_eq!(microseconds(OsStr::new("150")), Ok(Duration::from_micros(150)));
        for bad in ["", "-1", "1.5", "10001", "x"] {
            assert!(microseconds(OsStr::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(id(OsStr::new("1000")), Ok(1000));
        for bad in ["", "-1", "4294967295", "4294967296", "x"] {
            assert!(id(OsStr::new(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(threads(OsStr::new("4")), Ok(4));
        for bad in ["0", "257", "-1", "x"] {
            assert!(threads(OsStr::new(bad)).is_err(), "{bad:?}");
        }
    }
}
