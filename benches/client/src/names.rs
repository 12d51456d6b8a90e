//! One call, or one open, for each name of a list.

use std::ffi::{CStr, CString};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, statat};
use rustix::io::{Errno, read, write};

use crate::Measured;
use crate::share::{self, Share};

/// Does `operation` for every name.
pub fn run(operation: &str, names: &[CString], share: Option<Share>) -> Result<Measured> {
    match operation {
        "stat" => each(names, share, stat),
        "missing" => each(&beside(names)?, share, missing),
        "read" => {
            let mut buffer = vec![0; 128 << 10];
            each(names, share, |name| read_whole(name, &mut buffer))
        }
        _ => each(names, share, append),
    }
}

fn each(
    names: &[CString],
    share: Option<Share>,
    mut act: impl FnMut(&CStr) -> Result<()>,
) -> Result<Measured> {
    share::timed(share, || {
        for name in names {
            act(name).with_context(|| format!("at {name:?}"))?;
        }
        Ok(names.len() as u64)
    })
}

/// Names that are not there, in the directories of those that are.
fn beside(names: &[CString]) -> Result<Vec<CString>> {
    let missing = names.iter().map(|name| CString::new([name.as_bytes(), b".missing"].concat()));
    missing.collect::<Result<_, _>>().context("a name holds a zero byte")
}

fn stat(name: &CStr) -> Result<()> {
    statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn missing(name: &CStr) -> Result<()> {
    match statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(_) => bail!("is there"),
    }
}

fn read_whole(name: &CStr, buffer: &mut [u8]) -> Result<()> {
    let file = open(name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut total = 0;
    loop {
        let length = read(&file, &mut *buffer)?;
        total += length;
        if length == 0 {
            break;
        }
    }
    if total == 0 {
        bail!("is empty");
    }
    Ok(())
}

fn append(name: &CStr) -> Result<()> {
    let file = open(name, OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC, Mode::empty())?;
    if write(&file, b"+")? != 1 {
        bail!("a short write");
    }
    Ok(())
}
