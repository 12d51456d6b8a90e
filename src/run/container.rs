//! A container on its mounted root: what it needs before it runs, other programs in it, its end.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::Terminal;
use super::error::RunError;
use super::root::{Made, Root};
use super::rootless::Rights;
use super::runtime::{self, Runtime};
use super::sandbox::{Sandbox, Union};
use super::settings::{Settings, Tmpfs};
use super::spec::{self, Bundle, Process};
use super::status::{self, Record, State};
use super::supervise::wait_until;
use super::{limits, own_files, rootless, seccomp, user};
use crate::image::change::is_signal;
use crate::oci::config::RunConfig;
use crate::store::{Container, Store};
use crate::sys::fs::{Mode, chmod_fd, fstat};

/// How long what was killed may take to end.
const KILLED: Duration = Duration::from_secs(10);

/// A container that is run, or was, or will be.
#[derive(Debug)]
pub struct Instance {
    /// The container.
    pub container: Container,
    /// How it is run.
    pub settings: Settings,
    /// Its directory for running.
    pub dir: PathBuf,
    /// Where its root file system is mounted.
    pub root: PathBuf,
}

impl Instance {
    /// The container of a store, mounted in its own place.
    pub fn new(store: &Store, container: Container) -> Instance {
        let root = store.container_paths(&container.id).merged;
        let settings = Settings::of(&container.extra);
        Instance { settings, dir: status::directory(&root), root, container }
    }

    /// The unions of a sandbox, that over the root first; none of any other container.
    pub fn unions(&self) -> Vec<Union> {
        Sandbox::of(&self.container.extra).map_or_else(Vec::new, |sandbox| sandbox.unions(&self.root))
    }

    /// Its runtime.
    ///
    /// # Errors
    /// None is installed, or not the one it was run with.
    pub fn runtime(&self) -> Result<Runtime, RunError> {
        let program = runtime::choose(self.settings.runtime.as_deref())?;
        Ok(Runtime::new(program, &self.dir, self.container.id.as_str()))
    }

    /// Where the output of a detached container is.
    pub fn output(&self) -> PathBuf {
        self.dir.join("output.log")
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn state(&self) -> Result<State, RunError> {
        status::state(&self.dir)
    }

    /// Makes all that the runtime needs: its root file system is mounted. Nothing of it runs yet.
    ///
    /// # Errors
    /// There is no such user or program, a limit cannot be kept, the image is in the way.
    pub fn prepare(&self) -> Result<Record, RunError> {
        limits::check(&self.settings.limits)?;
        let config = &self.container.config;
        let root = Root::open(&self.root)?;
        let identity = rootless::fit(user::look_up(&root, &config.user)?)?;
        self.check_volumes()?;
        make_dir(&self.dir)?;
        own_files::write(&self.dir, self.container.id.as_str(), &self.settings)?;
        let stand_ins = own_files::make_stand_ins(&root)?;
        // Written before anything else can fail, so that what was made is found again.
        let record = Record { stand_ins, ..Record::default() };
        record.write(&self.dir)?;
        self.make_targets(&root)?;
        let settings = Settings { tmpfs: self.make_tmpfs_targets(&root)?, ..self.settings.clone() };
        let (seccomp, choice) = seccomp::profile()?;
        log::debug!("seccomp profile: {choice:?}");
        let bundle = spec::bundle(&Bundle {
            id: self.container.id.as_str(),
            root: &self.root,
            config,
            settings: &settings,
            identity: &identity,
            own_files: &self.dir,
            cgroups: limits::cgroups(),
            rights: Rights::own(),
            seccomp,
        })?;
        write_json(&self.dir.join("config.json"), &bundle)?;
        Ok(record)
    }

    fn check_volumes(&self) -> Result<(), RunError> {
        for volume in &self.settings.volumes {
            fs::metadata(&volume.source).map_err(RunError::system("use the volume", &volume.source))?;
        }
        Ok(())
    }

    /// Makes the working directory and the places that volumes are mounted on.
    fn make_targets(&self, root: &Root) -> Result<(), RunError> {
        root.make_dir(Path::new(&self.container.config.working_dir))?;
        for volume in &self.settings.volumes {
            match volume.source.is_dir() {
                true => root.make_dir(&volume.target)?,
                false => root.make_file(&volume.target)?,
            };
        }
        Ok(())
    }

    /// Makes the places of directories in memory. Returns these, each with a mode, since runtimes differ where there is
    /// none: the one asked for, that of the directory that was there, or the 1777 of a new one, as docker's.
    fn make_tmpfs_targets(&self, root: &Root) -> Result<Vec<Tmpfs>, RunError> {
        const NEW: u32 = 0o1777;
        let make = |tmpfs: &Tmpfs| {
            let Tmpfs { target, mut options } = tmpfs.clone();
            let made = root.make_dir(&target)?;
            let failed = |e| RunError::system("look at", &target)(io::Error::from(e));
            let dir = root.directory(&target)?;
            if made == Made::New {
                // runc takes the mode from here whatever it is told.
                let mode = Mode::from_raw_mode(tmpfs.mode().unwrap_or(NEW));
                chmod_fd(dir.as_fd(), mode).map_err(failed)?;
            }
            if tmpfs.mode().is_none() {
                let below = fstat(&dir).map_err(failed)?.st_mode & 0o7777;
                options.push(format!("mode={below:o}"));
            }
            Ok(Tmpfs { target, options })
        };
        self.settings.tmpfs.iter().map(make).collect()
    }

    /// Writes what a runtime is told of one more program, and returns where: the program `config` with the
    /// container's own host name.
    ///
    /// # Errors
    /// The container does not run; there is no such user.
    pub fn prepare_exec(&self, config: &RunConfig, terminal: Terminal, file: &Path) -> Result<(), RunError> {
        self.running()?;
        let identity = rootless::fit(user::look_up(&Root::open(&self.root)?, &config.user)?)?;
        let hostname = spec::hostname(self.container.id.as_str(), &self.settings);
        let process = Process { config, identity: &identity, hostname: Some(&hostname), terminal };
        write_json(file, &spec::process(&process)?)
    }

    /// Sends a signal, by name or number, to its first process.
    ///
    /// # Errors
    /// It does not run; the text names no signal.
    pub fn kill(&self, signal: &str) -> Result<(), RunError> {
        if !is_signal(signal) {
            return Err(RunError::Signal(signal.to_owned()));
        }
        self.running()?;
        self.runtime()?.kill(signal)
    }

    /// Asks it to end with its stop signal, and after `timeout` ends it.
    ///
    /// # Errors
    /// It cannot be ended. One that does not run is no error.
    pub fn stop(&self, timeout: Duration) -> Result<(), RunError> {
        let ended = || Ok(!matches!(self.state()?, State::Running | State::Starting));
        if ended()? {
            return Ok(());
        }
        let signal = self.container.config.stop_signal.as_deref().filter(|signal| is_signal(signal));
        match self.kill(signal.unwrap_or("TERM")) {
            Err(RunError::NotRunning(_)) | Ok(()) => {}
            // It may have ended by itself in this moment.
            Err(e) => log::debug!("{e}"),
        }
        if wait_until(timeout, ended)? {
            return Ok(());
        }
        if let Err(e) = self.kill("KILL") {
            log::debug!("{e}");
        }
        match wait_until(KILLED, ended)? {
            true => Ok(()),
            false => Err(RunError::Endless(self.container.name.clone())),
        }
    }

    /// Clears away what the runtime keeps and what was made to be mounted on, after the container ended. Its root
    /// file system may be mounted still; if it is, its stand-ins go.
    pub fn clear(&self, record: &Record, mounted: Mounted) {
        if let Err(e) = self.runtime().and_then(|runtime| runtime.delete()) {
            log::warn!("{e}");
        }
        if mounted == Mounted::Yes {
            match Root::open(&self.root) {
                Ok(root) => own_files::remove_stand_ins(&root, &record.stand_ins),
                Err(e) => log::debug!("{e}"),
            }
        }
    }

    /// Fails if it does not run.
    fn running(&self) -> Result<(), RunError> {
        match self.state()? {
            State::Running => Ok(()),
            _ => Err(RunError::NotRunning(self.container.name.clone())),
        }
    }
}

/// Whether a container's root file system is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Makes a directory where it is missing.
pub(super) fn make_dir(path: &Path) -> Result<(), RunError> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(RunError::system("make", path)(e)),
        _ => Ok(()),
    }
}

/// Removes a file where it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), RunError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RunError::system("remove", path)(e)),
        _ => Ok(()),
    }
}

pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), RunError> {
    fs::write(path, value.to_string()).map_err(RunError::system("write", path))
}
