"""What the checks share: mounting one of the systems, and other processes that do as they are told."""

import contextlib
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

NOBODY = 65534


def set_user(uid):
    """This process is an ordinary user from now on."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


class System:
    """One of those that are compared: the kernel's overlayfs, or a mount program with a way of doing I/O."""

    def __init__(self, program, way, more=""):
        self.program, self.way, self.more = program, way, more

    @property
    def is_kernel(self):
        return self.program == "kernel"

    @property
    def name(self):
        words = [word for word in ("kernel" if self.is_kernel else os.path.basename(self.program),
                                   "io=" + self.way if self.way else "", self.more) if word]
        return ",".join(words)

    def options(self, more):
        """All but the directories."""
        words = [more]
        if not self.is_kernel:
            words += ["io=" + self.way if self.way else "", self.more]
        return "".join("," + word for word in words if word)


class Union:
    """A mount with its directories, made by `lay(lower)`."""

    def __init__(self, system, directory, lay, options="", user=0, lower=None, descriptors=None):
        self.system, self.directory, self.user, self.descriptors = system, directory, user, descriptors
        if os.path.lexists(directory):
            shutil.rmtree(directory)
        self.lower = lower or os.path.join(directory, "lower")
        self.upper, self.work, self.merged = (os.path.join(directory, name) for name in ("upper", "work", "merged"))
        # A lower that is given may be several.
        for path in (directory, os.path.join(directory, "below"), self.upper, self.work, self.merged, *([] if lower else [self.lower])):
            os.makedirs(path, exist_ok=True)
            os.chown(path, user, user)
        lay(self.lower)
        self.mounted = False
        self.daemons = []
        self.mount(options)

    def mount(self, options):
        """Both the kernel and the helper take the options."""
        # Two lowers, so that directories may be merged.
        text = "lowerdir=%s:%s,upperdir=%s,workdir=%s%s" % (self.lower, os.path.join(self.directory, "below"), self.upper,
                                                           self.work, self.system.options(options))
        if self.system.is_kernel:
            command = ["mount", "-t", "overlay", "overlay", "-o", text, self.merged]
        else:
            command = [self.system.program, "-o", text, self.merged]
        with open(os.path.join(self.directory, "log"), "w+", encoding="utf-8") as log:
            as_user = self.user if not self.system.is_kernel else 0
            status = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     preexec_fn=lambda: self.prepare(as_user))
            log.seek(0)
            if status:
                raise OSError("cannot mount: " + log.read()[-300:])
        self.mounted = True
        self.daemons = [] if self.system.is_kernel else list(self.find_daemons())

    def prepare(self, user):
        """Of the mount program alone."""
        if self.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))
        set_user(user)

    def find_daemons(self):
        """The processes that serve it: the mount point is their last argument."""
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    words = file.read().split(b"\0")[:-1]
                if len(words) > 1 and words[-1].decode(errors="replace") == self.merged and \
                        os.path.basename(words[0].decode(errors="replace")) == os.path.basename(self.system.program):
                    yield int(name)

    def path(self, name):
        return os.path.join(self.merged, name)

    def unmount(self):
        """And waits for the daemon."""
        if not self.mounted:
            return
        self.mounted = False
        for attempt in range(20):
            flags = ["-l"] if attempt == 19 else []
            if subprocess.call(["umount", *flags, self.merged], stderr=subprocess.DEVNULL) == 0:
                break
            time.sleep(0.1)
        for pid in self.daemons:
            end = time.monotonic() + 10
            while runs(pid) and time.monotonic() < end:
                time.sleep(0.02)
            if runs(pid):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)


def runs(pid):
    """Whether a process does more than wait to be reaped."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# What the other process knows.
PRELUDE = """
import ctypes, errno, fcntl, json, mmap, os, select, sqlite3, stat, struct, sys, time
F_OFD_SETLK = 37
def ofd(fd, kind):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))
def said(what):
    try:
        found = what()
        return "works" if found is None else found
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    except sqlite3.OperationalError as error:
        return str(error)
"""


class Peer:
    """Another process, of any user. It does what it is told in Python, and answers with what JSON can hold."""

    def __init__(self, user=0, cwd="/"):
        reader = "import sys\n" + PRELUDE + """
import traceback
for line in sys.stdin:
    code = json.loads(line)
    try:
        if code[0] == "do":
            exec(code[1], globals())
            answer = ["well", None]
        else:
            answer = ["well", eval(code[1], globals())]
    except BaseException as error:
        answer = ["error", "%s (%s)" % (error, code[1].strip().splitlines()[-1])]
    print(json.dumps(answer), flush=True)
"""
        self.process = subprocess.Popen([sys.executable, "-S", "-c", reader], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        cwd=cwd, preexec_fn=lambda: set_user(user))

    def send(self, verb, code):
        self.process.stdin.write(json.dumps([verb, code]) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the other process ended")
        state, value = json.loads(line)
        if state == "error":
            raise AssertionError(value)
        return value

    def do(self, code):
        """Statements."""
        self.send("do", code)
        self.answer()

    def get(self, code):
        """An expression."""
        self.send("get", code)
        return self.answer()

    def said(self, code):
        """`works`, a value, or the name of the error."""
        return self.get("said(lambda: %s)" % code)

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


@contextlib.contextmanager
def peers(*users):
    """Several of them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Peer(user)) for user in users]


def file(directory, name, content="", mode=0o644, mtime=1_000_000_000, owner=0):
    """A file of a layer."""
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as made:
        made.write(content)
    os.chown(path, owner, owner)
    os.chmod(path, mode)
    os.utime(path, (mtime, mtime))


def mode_of(path):
    """As it is written."""
    return "%o" % stat.S_IMODE(os.stat(path).st_mode)
