//! The mount helper `plyfs-mount`: its command line, and what it does.
//!
//! One program for three callers: container engines (`PROG -o OPTS MERGED`, as they call fuse-overlayfs),
//! mount(8) and mount.fuse (`PROG SOURCE TARGET [-sfnv] -o OPTS`), and containerd (several `-o`).

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::daemon::Outcome;
use super::options::Options;
use super::serve::{self, Attachment};
use super::{logging, remount};

/// Exit codes of mount(8).
const USAGE: u8 = 1;
const FAILURE: u8 = 32;

const HELP: &str = "\
usage: plyfs-mount [OPTIONS] -o lowerdir=TOP[:…:BOTTOM][,upperdir=DIR,workdir=DIR][,…] TARGET
       plyfs-mount SOURCE TARGET [OPTIONS] -o …          (as mount(8) calls it)
       plyfs-mount -o remount,ro TARGET

Mounts the union of the lower directories, and of the upper one if there is one, at TARGET.

  -o OPTIONS       mount options, comma separated; may be given several times
  -f               stay in the foreground (called as mount.fuse.plyfs: only check the options)
  -d, --debug      stay in the foreground and log what happens
  -v               log a little more
  -h, --help       print this
  -V, --version    print the version
  -n -s -t TYPE    accepted for mount(8)

Options: lowerdir= upperdir= workdir= redirect_dir= index= metacopy= volatile fsync= noacl
uidmapping= gidmapping= squash_to_root squash_to_uid= squash_to_gid= xattr_permissions=
static_nlink userxattr timeout= threads= busy_poll= io=passthrough|cached|auto fsname= subtype= context=
allow_other allow_root noauto_unmount, and those of mount(8). plyfs-mount(8) explains them.

Example:
  plyfs-mount -o lowerdir=/app:/base,upperdir=/data/upper,workdir=/data/work /mnt
  umount /mnt
";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Print how it is used.
    Help,
    /// Print the version.
    Version,
    /// Mount, or remount.
    Mount(Invocation),
}

/// A mount as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The first of two positional arguments.
    pub source: Option<OsString>,
    /// The mount point.
    pub target: PathBuf,
    /// The arguments of `-o`, in their order.
    pub options: Vec<OsString>,
    /// `-f` of fuse-overlayfs.
    pub foreground: bool,
    /// `-f` of mount(8): check everything, mount nothing.
    pub fake: bool,
    /// `-d`.
    pub debug: bool,
    /// `-v`.
    pub verbose: bool,
    /// Flags that mean nothing here.
    pub ignored: Vec<OsString>,
}

/// Why a command line makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A flag that takes an argument stands last.
    #[error("{0} needs an argument; see plyfs-mount --help")]
    MissingArgument(String),
    /// No positional argument.
    #[error("no mount point given; see plyfs-mount --help")]
    NoTarget,
    /// More than two positional arguments.
    #[error("unexpected argument {0:?}: give at most a source and a mount point; see plyfs-mount --help")]
    TooMany(OsString),
}

/// Reads the arguments behind the program's name; `program` tells whose dialect `-f` is.
///
/// # Errors
/// No mount point, too many positional arguments, or a flag without its argument.
pub fn parse(program: &OsStr, arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut parser =
        Parser { arguments: arguments.into_iter(), found: Invocation::default(), positionals: vec![] };
    if let Some(request) = parser.read_all()? {
        return Ok(request);
    }
    let Parser { mut found, positionals, .. } = parser;
    let mut positionals = positionals.into_iter();
    (found.source, found.target) = match (positionals.next(), positionals.next(), positionals.next()) {
        (None, ..) => return Err(UsageError::NoTarget),
        (Some(target), None, _) => (None, target.into()),
        (source, Some(target), None) => (source, target.into()),
        (_, _, Some(extra)) => return Err(UsageError::TooMany(extra)),
    };
    if called_by_mount(program) {
        found.fake = std::mem::take(&mut found.foreground);
    }
    Ok(Request::Mount(found))
}

/// Whether the program's name is one under which mount(8) looks for helpers.
fn called_by_mount(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default();
    name.as_bytes().starts_with(b"mount.")
}

struct Parser<I> {
    arguments: I,
    found: Invocation,
    positionals: Vec<OsString>,
}

impl<I: Iterator<Item = OsString>> Parser<I> {
    /// Reads to the end, or to a request that makes the rest meaningless.
    fn read_all(&mut self) -> Result<Option<Request>, UsageError> {
        while let Some(argument) = self.arguments.next() {
            match argument.as_bytes() {
                b"--" => self.positionals.extend(self.arguments.by_ref()),
                b"--help" => return Ok(Some(Request::Help)),
                b"--version" => return Ok(Some(Request::Version)),
                b"--debug" => self.found.debug = true,
                b"--foreground" => self.found.foreground = true,
                b"--verbose" => self.found.verbose = true,
                [b'-', b'-', ..] => self.found.ignored.push(argument),
                [b'-', letters @ ..] if !letters.is_empty() => {
                    if let Some(request) = self.read_letters(letters)? {
                        return Ok(Some(request));
                    }
                }
                _ => self.positionals.push(argument),
            }
        }
        Ok(None)
    }

    /// Reads a group of one-letter flags, such as `-sfn` or `-oro`.
    fn read_letters(&mut self, letters: &[u8]) -> Result<Option<Request>, UsageError> {
        for (at, letter) in letters.iter().enumerate() {
            let glued = &letters[at + 1..];
            match letter {
                b'h' => return Ok(Some(Request::Help)),
                b'V' => return Ok(Some(Request::Version)),
                b'f' => self.found.foreground = true,
                b'd' => self.found.debug = true,
                b'v' => self.found.verbose = true,
                b'r' => self.found.options.push(OsString::from("ro")),
                b'w' => self.found.options.push(OsString::from("rw")),
                b's' | b'n' | b'i' => {}
                b'o' => {
                    let options = self.argument_of("-o", glued)?;
                    self.found.options.push(options);
                    break;
                }
                // The type is ours; the namespace, mount(8) has entered already.
                b't' => return self.argument_of("-t", glued).map(|_| None),
                b'N' => return self.argument_of("-N", glued).map(|_| None),
                other => self.found.ignored.push(OsString::from_vec(vec![b'-', *other])),
            }
        }
        Ok(None)
    }

    /// The argument of a flag: glued to it, or the next word.
    fn argument_of(&mut self, flag: &str, glued: &[u8]) -> Result<OsString, UsageError> {
        if !glued.is_empty() {
            return Ok(OsString::from_vec(glued.to_vec()));
        }
        self.arguments.next().ok_or_else(|| UsageError::MissingArgument(flag.to_owned()))
    }
}

/// The whole program: `arguments` with the program's name in front, to its exit code (those of mount(8)).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    match parse(&program, arguments) {
        Ok(Request::Help) => print(HELP),
        Ok(Request::Version) => print(&format!(
            "plyfs-mount: version {} (fuse-overlayfs compatible)\n",
            env!("CARGO_PKG_VERSION")
        )),
        Ok(Request::Mount(invocation)) => run(invocation),
        Err(e) => fail(USAGE, &e),
    }
}

/// Prints to a standard output that may be closed already.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => fail(FAILURE, &e),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("plyfs: error: {error}");
    ExitCode::from(code)
}

fn run(invocation: Invocation) -> ExitCode {
    let mut options = Options::default();
    if let Some(source) = &invocation.source {
        options.source = Some(source.clone());
    }
    for text in &invocation.options {
        if let Err(e) = options.read(text) {
            return fail(USAGE, &e);
        }
    }
    options.debug |= invocation.debug;
    logging::init(level(&invocation, &options));
    if options.remount {
        return match remount::remount(&invocation.target, options.flags) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => fail(FAILURE, &e),
        };
    }
    if let Err(e) = options.finish() {
        return fail(USAGE, &e);
    }
    warn(&invocation, &options);
    if invocation.fake {
        return ExitCode::SUCCESS;
    }
    start(&invocation, options)
}

fn start(invocation: &Invocation, options: Options) -> ExitCode {
    let foreground = invocation.foreground || options.debug;
    let attachment = if foreground { Attachment::Foreground } else { Attachment::Daemon };
    match serve::mount(options, &invocation.target, attachment) {
        Ok(Outcome::Live | Outcome::Served) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(FAILURE),
        Err(e) => fail(FAILURE, &e),
    }
}

fn level(invocation: &Invocation, options: &Options) -> log::LevelFilter {
    match (options.debug, invocation.verbose) {
        (true, _) => log::LevelFilter::Debug,
        (false, true) => log::LevelFilter::Info,
        (false, false) => log::LevelFilter::Warn,
    }
}

fn warn(invocation: &Invocation, options: &Options) {
    for argument in &invocation.ignored {
        eprintln!("plyfs: unknown argument \"{}\" ignored", argument.display());
    }
    for warning in &options.warnings {
        eprintln!("plyfs: {warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: &str, line: &str) -> Result<Request, UsageError> {
        parse(OsStr::new(program), line.split_whitespace().map(OsString::from))
    }

    fn mount(program: &str, line: &str) -> Invocation {
        match read(program, line) {
            Ok(Request::Mount(invocation)) => invocation,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn shape(found: &Invocation) -> (Option<&str>, &str, Vec<&str>) {
        let options = found.options.iter().filter_map(|o| o.to_str()).collect();
        (found.source.as_deref().and_then(OsStr::to_str), found.target.to_str().unwrap(), options)
    }

    #[test]
    fn every_callers_form() {
        let cases: &[(&str, Option<&str>, &str, &[&str])] = &[
            ("-o lowerdir=a MERGED", None, "MERGED", &["lowerdir=a"]),
            ("MERGED -o lowerdir=a", None, "MERGED", &["lowerdir=a"]),
            ("-olowerdir=a MERGED", None, "MERGED", &["lowerdir=a"]),
            ("src /mnt -o rw,lowerdir=a,dev,suid", Some("src"), "/mnt", &["rw,lowerdir=a,dev,suid"]),
            ("src /mnt -sfnv -o rw", Some("src"), "/mnt", &["rw"]),
            ("src /mnt -nvo rw -t fuse.plyfs", Some("src"), "/mnt", &["rw"]),
            (
                "overlay /t -o workdir=w -o upperdir=u -o lowerdir=l -t plyfs",
                Some("overlay"),
                "/t",
                &["workdir=w", "upperdir=u", "lowerdir=l"],
            ),
            ("-r /mnt", None, "/mnt", &["ro"]),
            ("-o a -- -src -mnt", Some("-src"), "-mnt", &["a"]),
            ("- /mnt", Some("-"), "/mnt", &[]),
        ];
        for (line, source, target, options) in cases {
            assert_eq!(shape(&mount("plyfs-mount", line)), (*source, *target, options.to_vec()), "{line}");
        }
    }

    #[test]
    fn f_is_foreground_for_engines_and_fake_for_mount() {
        let found = mount("/usr/bin/plyfs-mount", "-f -o x m");
        assert!(found.foreground && !found.fake);
        let found = mount("/sbin/mount.fuse.plyfs", "s m -sf -o x");
        assert!(!found.foreground && found.fake);
        assert!(mount("plyfs-mount", "--debug m").debug);
        assert!(mount("plyfs-mount", "-d m").debug);
    }

    #[test]
    fn questions_win_over_everything() {
        for line in ["--help", "-h", "a b c -h", "-o x --help"] {
            assert_eq!(read("p", line), Ok(Request::Help), "{line}");
        }
        assert_eq!(read("p", "--version"), Ok(Request::Version));
        assert_eq!(read("p", "-V"), Ok(Request::Version));
    }

    #[test]
    fn unknown_flags_are_passed_over() {
        assert_eq!(mount("p", "--frob -q m").ignored, ["--frob", "-q"]);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(read("p", ""), Err(UsageError::NoTarget));
        assert_eq!(read("p", "-o x"), Err(UsageError::NoTarget));
        assert_eq!(read("p", "m -o"), Err(UsageError::MissingArgument("-o".to_owned())));
        assert_eq!(read("p", "a b c"), Err(UsageError::TooMany(OsString::from("c"))));
    }
}
