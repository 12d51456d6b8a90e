"""The file systems that are compared: how each is mounted, and what it lacks."""

import os
import re
import subprocess

from machine import Failure, NotHere

ROOT, USER = "as root", "as an ordinary user in a user namespace"


class System:
    """One column of the table."""

    def __init__(self, name, title, command, *, users=(ROOT,), has_daemon=True, metacopy=False, missing=None):
        self.name, self.title, self.users = name, title, users
        # (options) -> the command, without the mount point; None for the plain directory.
        self.command = command
        self.has_daemon, self.metacopy = has_daemon, metacopy
        # Why this machine has not got it, if so.
        self.missing = missing

    @property
    def is_plain(self):
        """No union, only a directory."""
        return self.command is None


class Union:
    """What is to be mounted; paths may be relative to the directory of the layers."""

    def __init__(self, lowers, upper, work, *, metacopy=False, volatile=False, user=ROOT):
        self.lowers, self.upper, self.work = lowers, upper, work
        self.metacopy, self.volatile, self.user = metacopy, volatile, user

    def options(self, *more):
        """As overlayfs, fuse-overlayfs and plyfs take them."""
        options = ["lowerdir=" + ":".join(self.lowers), "upperdir=" + self.upper, "workdir=" + self.work, *more]
        return ",".join(options + ["volatile"] * self.volatile)


def kernel(union):
    """The kernel's own, with its defaults."""
    more = ["userxattr"] if union.user == USER else ["metacopy=on,redirect_dir=on" if union.metacopy else "metacopy=off"]
    # Newer ones of mount(8) use an interface that takes 256 bytes of lowerdir only.
    return ["env", "LIBMOUNT_FORCE_MOUNT2=always", "mount", "-t", "overlay", "-o", union.options(*more), "overlay"]


def fuse_overlayfs(program):
    """Both versions take the same."""
    return lambda union: [program, "-o", union.options()]


def unionfs(union):
    """It has no work directory, and nothing to keep from disk."""
    branches = ["%s=RW" % union.upper] + ["%s=RO" % lower for lower in union.lowers]
    return ["unionfs", "-o", "cow,allow_other,use_ino,hide_meta_files", ":".join(branches)]


def plyfs(program, io):
    """With one way of doing I/O."""
    def command(union):
        return [program, "-o", union.options("io=" + io, *["metacopy=on"] * union.metacopy)]
    return command


def version_of(program):
    """What fuse-overlayfs says of itself; None where it is not there."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    found = re.search(r"fuse-overlayfs: version ([0-9.]+)", text)
    return found.group(1) if found else "unknown"


def lacks(program, wanted):
    """Why a fuse-overlayfs cannot stand for the version wanted; None if it can."""
    version = version_of(program)
    if version is None:
        return "%s is not there" % program
    return None if version.startswith(wanted) else "%s is version %s" % (program, version)


def available(bin_directory, distribution="/usr/bin/fuse-overlayfs"):
    """All systems, in the order of the table. `bin_directory` has plyfs-mount and fuse-overlayfs-2."""
    newest, ours = (os.path.join(bin_directory, name) for name in ("fuse-overlayfs-2", "plyfs-mount"))
    everyone = (ROOT, USER)
    found = next((path for path in ("/usr/bin/unionfs", "/usr/bin/unionfs-fuse") if os.path.exists(path)), None)
    fuse = None if os.path.exists("/dev/fuse") else "there is no /dev/fuse"
    overlay = None if "\toverlay\n" in open("/proc/filesystems", encoding="ascii").read() else "the kernel has no overlayfs"
    return [
        System("plain", "a plain directory", None, users=everyone, has_daemon=False),
        System("kernel", "overlayfs of the kernel", kernel, users=everyone, has_daemon=False, metacopy=True, missing=overlay),
        System("fuse-overlayfs-2", "fuse-overlayfs 2.0.0", fuse_overlayfs(newest), users=everyone,
               missing=fuse or lacks(newest, "2.0.0")),
        System("fuse-overlayfs-1", "fuse-overlayfs %s of the distribution" % version_of(distribution),
               fuse_overlayfs(distribution), missing=fuse or lacks(distribution, "1.")),
        System("unionfs", "unionfs-fuse", unionfs, missing=fuse or (None if found else "unionfs-fuse is not installed")),
        System("plyfs-passthrough", "plyfs, io=passthrough", plyfs(ours, "passthrough"), metacopy=True, missing=fuse),
        System("plyfs-cached", "plyfs, io=cached", plyfs(ours, "cached"), users=everyone, metacopy=True, missing=fuse),
    ]


class Root:
    """Who mounts and works: root, here."""

    user = ROOT

    def command(self, command):
        """The command as this user runs it."""
        return command

    def give(self, path):
        """Makes the user the owner of a tree."""

    def close(self):
        """Ends what was started."""


class Namespace:
    """Who mounts and works: an ordinary user, root of a user and a mount namespace that a sleeping process holds open."""

    user = USER

    def __init__(self, temp):
        self.uid, self.gid = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())
        self.become = [] if os.getuid() else ["setpriv", "--reuid", str(self.uid), "--regid", str(self.gid),
                                              "--clear-groups", "--inh-caps=-all"]
        script = "echo ready; exec sleep infinity"
        if os.getuid() == 0:
            script = "mount --bind '%s' /dev/fuse && %s" % (own_device(temp), script)
        self.holder = subprocess.Popen([*self.become, "unshare", "-Urm", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            reason = self.holder.communicate()[1].strip() or "unshare -Urm does not work"
            raise NotHere("no user namespace with /dev/fuse for an ordinary user here: %s" % reason)

    def command(self, command):
        """The command as this user runs it."""
        enter = ["nsenter", "-t", str(self.holder.pid), "-U", "-m", "--preserve-credentials", "--"]
        return [*self.become, *enter, *command]

    def give(self, path):
        """Makes the user the owner of a tree."""
        if os.getuid():
            return
        os.lchown(path, self.uid, self.gid)
        for directory, directories, files in os.walk(path):
            for name in directories + files:
                os.lchown(os.path.join(directory, name), self.uid, self.gid)

    def close(self):
        """Ends what was started; the namespace goes with the last process in it."""
        self.holder.kill()
        self.holder.wait()


def own_device(temp):
    """A /dev/fuse that ordinary users may open, whatever the mode of the machine's own."""
    path = os.path.join(temp, "fuse-device")
    if not os.path.exists(path):
        try:
            os.mknod(path, 0o20666, os.stat("/dev/fuse").st_rdev)
        except OSError as error:
            raise Failure("a device for ordinary users: %s" % error) from None
        os.chmod(path, 0o666)
    return path
