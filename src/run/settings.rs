//! How a container is run, apart from what belongs to its image: kept with the container, read again by `exec`.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::command::Terminal;
use super::error::RunError;

/// The field of a container's file that holds this.
const FIELD: &str = "run";

/// How a container is run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Its network.
    pub network: Network,
    /// Its host name; the beginning of its ID where none was asked for and it has its own network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Directories and files of this machine shown in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Directories in memory, each `DIR` or `DIR:OPTIONS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Whether its root file system may be written.
    pub root: RootAccess,
    /// Whether its program has a terminal.
    pub terminal: Terminal,
    /// Whether its program reads what the caller types.
    pub input: Input,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is removed when it ends.
    pub afterwards: Afterwards,
    /// The program that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
}

/// The network of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// This machine's.
    #[default]
    Host,
    /// One of its own, with a loopback interface only.
    None,
}

/// Whether a root file system may be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootAccess {
    /// It may.
    #[default]
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// What a program reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// Nothing.
    #[default]
    None,
    /// The caller's standard input.
    Callers,
}

/// What becomes of a container that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Afterwards {
    /// It stays, with what was changed in it.
    #[default]
    Keep,
    /// It is removed.
    Remove,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// A directory or file of this machine that is shown in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// On this machine; absolute.
    pub source: PathBuf,
    /// In the container; absolute.
    pub target: PathBuf,
    /// Whether it may be written.
    #[serde(default)]
    pub access: RootAccess,
}

/// A directory in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// In the container; absolute.
    pub target: PathBuf,
    /// Options of the mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Settings {
    /// The settings that a container was run with; the defaults where it never was.
    pub fn of(extra: &Map<String, Value>) -> Settings {
        extra.get(FIELD).and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
    }

    /// Puts the settings where a container keeps them.
    pub fn keep(&self, extra: &mut Map<String, Value>) {
        let value = serde_json::to_value(self).unwrap_or_default();
        extra.insert(FIELD.to_owned(), value);
    }
}

impl Volume {
    /// A volume as typed: `SOURCE:TARGET[:ro|rw]`. The source is taken as it is; `directory` is where a relative one
    /// (`./x`) begins.
    ///
    /// # Errors
    /// [`RunError::Volume`].
    pub fn parse(text: &str, directory: &Path) -> Result<Volume, RunError> {
        let bad = |fault: &str| RunError::Volume { text: text.to_owned(), fault: fault.to_owned() };
        let mut parts = text.split(':');
        let (source, target) = match (parts.next(), parts.next()) {
            (Some(source), Some(target)) if !source.is_empty() && !target.is_empty() => (source, target),
            _ => return Err(bad("it must be SOURCE:TARGET or SOURCE:TARGET:ro")),
        };
        if !source.contains('/') && source != "." && source != ".." {
            return Err(bad("named volumes are not kept here; give a directory, as in ./NAME"));
        }
        let mut access = RootAccess::ReadWrite;
        for option in parts.flat_map(|options| options.split(',')) {
            access = match option {
                "ro" => RootAccess::ReadOnly,
                "rw" => RootAccess::ReadWrite,
                _ => return Err(bad("its options can be ro or rw")),
            };
        }
        let target = target_path(target).ok_or_else(|| bad("its target must be absolute and not /"))?;
        Ok(Volume { source: directory.join(source), target, access })
    }
}

impl Tmpfs {
    /// A directory in memory as typed: `DIR[:OPTIONS]`.
    ///
    /// # Errors
    /// [`RunError::Value`].
    pub fn parse(text: &str) -> Result<Tmpfs, RunError> {
        let bad = |fault| RunError::Value { option: "--tmpfs", text: text.to_owned(), fault };
        let (dir, options) = text.split_once(':').unwrap_or((text, ""));
        let target = target_path(dir).ok_or_else(|| bad("the directory must be absolute and not /"))?;
        let options: Vec<String> =
            options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        const KNOWN: &[&str] = &["ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev"];
        let is_known = |option: &String| {
            KNOWN.contains(&option.as_str())
                || option.split_once('=').is_some_and(|(name, _)| {
                    ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"].contains(&name)
                })
        };
        match options.iter().all(is_known) {
            true => Ok(Tmpfs { target, options }),
            false => Err(bad("an option of it is not known")),
        }
    }

    /// The mode that was asked for.
    pub(super) fn mode(&self) -> Option<u32> {
        let mode = self.options.iter().rev().find_map(|option| option.strip_prefix("mode="))?;
        u32::from_str_radix(mode, 8).ok()
    }
}

impl Limits {
    /// A number of bytes as typed: `512m`, `1.5g`, `1048576`, with `b`, `k`, `m`, `g`, `t` for powers of 1024.
    ///
    /// # Errors
    /// [`RunError::Value`].
    pub fn parse_memory(text: &str) -> Result<u64, RunError> {
        let bad = |fault| RunError::Value { option: "--memory", text: text.to_owned(), fault };
        let lower = text.to_ascii_lowercase();
        let digits = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
        let (digits, shift) = match digits.char_indices().last() {
            Some((at, 'k')) => (&digits[..at], 10),
            Some((at, 'm')) => (&digits[..at], 20),
            Some((at, 'g')) => (&digits[..at], 30),
            Some((at, 't')) => (&digits[..at], 40),
            _ => (digits, 0),
        };
        let number: f64 = digits.parse().map_err(|_| bad("give a size such as 512m"))?;
        let bytes = number * (1u64 << shift) as f64;
        if !(bytes.is_finite() && bytes < i64::MAX as f64) {
            return Err(bad("it is too large"));
        }
        // docker's least; less would not even start a program.
        if bytes < (6u64 << 20) as f64 {
            return Err(bad("at least 6m is needed"));
        }
        Ok(bytes as u64)
    }

    /// Thousandths of a processor, from a number of processors as typed: `1.5`.
    ///
    /// # Errors
    /// [`RunError::Value`].
    pub fn parse_cpus(text: &str) -> Result<u64, RunError> {
        let cpus: f64 = text.parse().unwrap_or(f64::NAN);
        match (cpus * 1000.0).round() {
            millicpus if (10.0..=1e9).contains(&millicpus) => Ok(millicpus as u64),
            _ => Err(RunError::Value {
                option: "--cpus",
                text: text.to_owned(),
                fault: "give a number of processors such as 1.5, at least 0.01",
            }),
        }
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// An absolute path in a container as typed, cleaned by words; `None` for a relative one and for the root.
fn target_path(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        return None;
    }
    let cleaned = super::root::cleaned(path);
    cleaned.components().any(|c| matches!(c, Component::Normal(_))).then_some(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read() {
        let parse = |text| Volume::parse(text, Path::new("/here"));
        let volume = parse("/a:/b/../c:ro").expect("good");
        assert_eq!((volume.source.as_path(), volume.target.as_path()), (Path::new("/a"), Path::new("/c")));
        assert_eq!(volume.access, RootAccess::ReadOnly);
        assert_eq!(parse("./a:/b").expect("good").source, Path::new("/here/./a"));
        for bad in ["", "/a", ":/b", "/a:", "/a:b", "/a:/", "/a:/..", "name:/b", "/a:/b:shared", "/a:/b:ro:x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn directories_in_memory_are_read() {
        assert_eq!(Tmpfs::parse("/run").expect("good").options.len(), 0);
        assert_eq!(Tmpfs::parse("/run:size=1m,noexec").expect("good").options, ["size=1m", "noexec"]);
        for bad in ["run", "/", "/run:bind", "/run:lowerdir=/x"] {
            assert!(Tmpfs::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_read() {
        let good = [
            ("512m", 512 << 20),
            ("1.5G", 3 << 29),
            ("8388608", 8 << 20),
            ("8MiB", 8 << 20),
            ("1tb", 1 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(Limits::parse_memory(text).expect(text), bytes, "{text}");
        }
        for bad in ["", "m", "-1g", "1x", "inf", "nan", "1e30", "5m", "ö"] {
            assert!(Limits::parse_memory(bad).is_err(), "{bad}");
        }
        assert_eq!(Limits::parse_cpus("1.5").expect("good"), 1500);
        for bad in ["", "0", "-1", "nan", "1e20"] {
            assert!(Limits::parse_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_are_kept_and_found() {
        let mut extra = Map::new();
        assert_eq!(Settings::of(&extra), Settings::default());
        let settings = Settings {
            network: Network::None,
            hostname: Some("h".into()),
            volumes: vec![Volume::parse("/a:/b", Path::new("/")).expect("good")],
            tmpfs: vec![Tmpfs::parse("/t:size=1k").expect("good")],
            limits: Limits { pids: Some(3), ..Limits::default() },
            afterwards: Afterwards::Remove,
            ..Settings::default()
        };
        settings.keep(&mut extra);
        assert_eq!(Settings::of(&extra), settings);
    }
}
