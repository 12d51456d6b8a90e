"""Hostile images, and what must come of running each: run by scripts/hostile-run.

usage: hostile_run.py PLYFS DIRECTORY RUNTIME [--list] [--quick]

`refused`: an exit code of 125 to 127 with a message. `contained`: a program ran, and saw and changed nothing of this
machine. After each, a canary tree beside the store and the machine's own files of /etc are as before, the container is
gone, and no process or mount is left.
"""

import ctypes
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
import zlib

from hostile import UP, snapshot
from rawtar import Image, Tar

REFUSED, CONTAINED, EITHER = "refused", "contained", "either"
SECRET = "the-canary-sings"
SECONDS = 60
# What is looked at and touched from inside. The canary's path is the first argument.
PROBE = """
for file in /etc/passwd /etc/group /etc/shadow /etc/hosts /etc/hostname /etc/resolv.conf; do
    timeout 1 head -c 9999 $file; { echo pwned >>$file; } 2>&1
done
for name in "$0" . .. ../.. /proc/self/cwd /place /dev/shm /dev /sys /proc/1/root"$0"; do
    head -c 999 $name/secret; { echo pwned >$name/pwned; } 2>&1
done
for fd in 0 1 2 3 4 5 6 7 8 9 10 11; do readlink /proc/1/fd/$fd; cat /proc/1/fd/$fd/secret; done
id; pwd
"""
MACHINE = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]
PR_SET_CHILD_SUBREAPER = 36
# How each runtime begins the message that the system did not take the program; stands for it in `says`.
EXEC = {"crun": "exec container process", "runc": "exec /"}

CASES = []


def case(name, expected, layer=None, config=None, options=(), command=None, says=None, full=False, lacks=()):
    """One image. `full`: left out of the quick form. `layer`: a tar over the base. `config`: fields of its configuration. `command`: in place of the probe;
    [] for the image's own. `says` and `lacks`: what the output holds, and does not."""
    CASES.append(dict(name=name, expected=expected, layer=layer or Tar, config=config or {}, options=list(options),
                      command=command, says=says, full=full, lacks=list(lacks)))


def t():
    return Tar()


def links(canary):
    """Where links lead that must lead nowhere."""
    return [("out", canary), ("up", UP + canary.lstrip(b"/")), ("through /proc", b"/proc/1/root" + canary),
            ("to itself", None)]


def users(canary):
    eve = {"User": "eve"}
    for way, target in links(canary):
        full = way == "through /proc"
        for name in [b"passwd", b"group"]:
            link = target + b"/" + name if target else b"/etc/" + name
            user = eve if name == b"passwd" else {"User": "root:eve"}
            case("%s: a link %s" % (name.decode(), way), REFUSED,
                 lambda name=name, link=link: t().symlink(b"etc/" + name, link), user, full=full)
    case("passwd: a link to the machine's by ..", REFUSED, lambda: t().symlink(b"etc/passwd", UP + b"etc/passwd"), eve)
    for name in [b"passwd", b"group"]:
        at = b"etc/" + name
        shown = name.decode()
        case(shown + ": a FIFO", REFUSED, lambda at=at: t().entry(b"6", at), eve)
        case(shown + ": a device without end", REFUSED, lambda at=at: t().entry(b"3", at, mode=0o666, device=(1, 5)), eve)
        case(shown + ": a directory", REFUSED, lambda at=at: t().dir(at), eve)
        case(shown + ": 5 MiB", REFUSED, lambda at=at: t().file(at, b"eve:x:5:5\n" * (5 << 20 >> 3)), eve)
        case(shown + ": 1 GiB", REFUSED, at, eve, full=True)
    case("passwd: without a newline", EITHER, lambda: t().file(b"etc/passwd", b"eve:x:0:0::/:"), eve, says="uid=0(eve)")
    for uid in ["-1", "4294967295", "4294967296", "18446744073709551616", "0x0", "", "1e3"]:
        case("passwd: uid %r" % uid, REFUSED,
             lambda uid=uid: t().file(b"etc/passwd", b"eve:x:%s:0::/:\n" % uid.encode()), eve, full=len(uid) < 5)
    case("passwd: zero bytes and no UTF-8", REFUSED, lambda: t().file(b"etc/passwd", b"\0\xff:x:0:0\neve\0:x:0:0\n"), eve)
    case("passwd: a home that leads out", CONTAINED,
         lambda: t().file(b"etc/passwd", b"root:x:0:0::%s:\n" % (UP + canary)), {})
    case("passwd: a home with a zero byte", REFUSED, lambda: t().file(b"etc/passwd", b"root:x:0:0::/a\0b:\n"), {})
    case("group: eve is in 70000", REFUSED, lambda: t().file(b"etc/passwd", b"eve:x:0:0::/:\n").file(
        b"etc/group", b"".join(b"g%d:x:%d:eve\n" % (n, n) for n in range(70000))), eve)
    for user in ["a:b:c", "::", "root:", ":eve", "-1", "0:-1", "4294967296", "e" * 100000, "eve\n", "\x1b[31mred", "a\0b",
                 "../root", "$(id)"]:
        case("user: %r" % user[:20], CONTAINED if user == "root:" else REFUSED, None, {"User": user})


def directories(canary):
    for way, target in links(canary):
        # Each kind of way is in the quick form, but not each of each thing.
        full = way not in ("out", "up")
        link = target or b"/work"
        case("working directory: a link " + way, REFUSED, lambda link=link: t().symlink(b"work", link),
             {"WorkingDir": "/work"})
        case("working directory: below a link " + way, REFUSED, lambda link=link: t().symlink(b"work", link),
             {"WorkingDir": "/work/new"}, full=full)
        case("volume: below a link " + way, REFUSED, lambda link=link: t().symlink(b"place", link if target else b"place"),
             options=["-v", os.fsdecode(canary) + ":/place/in:ro"])
        case("tmpfs: on a link " + way, REFUSED, lambda link=link: t().symlink(b"place", link if target else b"place"),
             options=["--tmpfs", "/place"], full=full)
        for name in [b"proc", b"dev", b"sys", b"etc"]:
            at = link if target else name
            case("/%s: a link %s" % (name.decode(), way), EITHER, lambda name=name, at=at: t().file(b".wh." + name).symlink(
                name, at), full=full)
        for name in [b"dev/shm", b"dev/pts", b"dev/null", b"sys/fs"]:
            at = link if target else b"/" + name
            case("/%s: a link %s" % (name.decode(), way), CONTAINED,
                 lambda name=name, at=at: t().dir(os.path.dirname(name)).symlink(name, at),
                 full=full or name != b"dev/shm")
        for name in [b"resolv.conf", b"hosts", b"hostname"]:
            at = link + b"/new" if target else b"/etc/" + name
            case("/etc/%s: a link %s" % (name.decode(), way), REFUSED, lambda name=name, at=at: t().symlink(
                b"etc/" + name, at), full=full)
    for name in [b"resolv.conf", b"hosts", b"hostname"]:
        shown = "/etc/" + name.decode()
        case(shown + ": a FIFO", EITHER, lambda name=name: t().entry(b"6", b"etc/" + name))
        case(shown + ": a device", EITHER, lambda name=name: t().entry(b"3", b"etc/" + name, device=(1, 5)))
        case(shown + ": a directory", REFUSED, lambda name=name: t().dir(b"etc/" + name))
    for name in [b"proc", b"dev", b"sys", b"etc"]:
        case("/%s: a file" % name.decode(), REFUSED, lambda name=name: t().file(b".wh." + name).file(name))
    case("working directory: a file", REFUSED, lambda: t().file(b"work"), {"WorkingDir": "/work"})
    case("working directory: relative", CONTAINED, None, {"WorkingDir": "work"}, says="/work")
    case("working directory: ..", CONTAINED, None, {"WorkingDir": "/../../.." + os.fsdecode(canary)})
    case("working directory: a name of 300 bytes", REFUSED, None, {"WorkingDir": "/" + "n" * 300})
    case("working directory: a path of 5000 bytes", REFUSED, None, {"WorkingDir": "/n" * 2500})
    case("working directory: a zero byte", REFUSED, None, {"WorkingDir": "/a\0b"})
    case("working directory: newline and escapes", CONTAINED, None, {"WorkingDir": "/a\nb\x1b[31m"})
    for number in [3, 5, 6, 7, 8, 9, 10, 20]:
        # CVE-2024-21626: a descriptor of the runtime's as the working directory.
        case("working directory: /proc/self/fd/%d" % number, REFUSED, None, {"WorkingDir": "/proc/self/fd/%d" % number},
             full=number not in (7, 9))
    case("working directory: /proc/self/fd/9/../..", REFUSED, lambda: t().symlink(b"work", b"/proc/self/fd/9"),
         {"WorkingDir": "/work/../work"})
    case("working directory: /proc/self/fd/7 in the image, too", REFUSED, lambda: t().dir(b"proc/self/fd/7").symlink(
        b"work", b"/proc/self/fd/7"), {"WorkingDir": "/work"})
    for volume in ["/", "/proc", "../..", "/etc/../..", "", "\0"]:
        case("VOLUME %r" % volume, CONTAINED, None, {"Volumes": {volume: {}}})


def programs(canary):
    def entry(name, expected, layer, entrypoint, **more):
        case("entrypoint: " + name, expected, layer, {"Entrypoint": entrypoint}, command=[], **more)

    entry("missing", REFUSED, None, ["/frob"])
    entry("not executable", REFUSED, lambda: t().file(b"prog", b"#!/bin/sh\n"), ["/prog"])
    entry("a directory", REFUSED, None, ["/etc"])
    entry("a link out", REFUSED, lambda: t().symlink(b"prog", canary + b"/prog"), ["/prog"])
    entry("a link up", REFUSED, lambda: t().symlink(b"prog", UP + canary[1:] + b"/prog"), ["/prog"])
    entry("a loop", REFUSED, lambda: t().symlink(b"prog", b"prog"), ["/prog"])
    entry("no interpreter", EITHER, lambda: t().file(b"prog", b"#!/frob\n", mode=0o755), ["/prog"], says=EXEC)
    entry("its own interpreter", EITHER, lambda: t().file(b"prog", b"#!/prog\n", mode=0o755), ["/prog"], says=EXEC)
    entry("ELF of another architecture", EITHER, lambda: t().file(
        b"prog", b"\x7fELF\x02\x02\x01" + bytes(9) + b"\0\2\0\x2b" + bytes(100), mode=0o755), ["/prog"], says=EXEC)
    entry("empty", EITHER, lambda: t().file(b"prog", b"", mode=0o755), ["/prog"], says=EXEC)
    entry("a FIFO", EITHER, lambda: t().entry(b"6", b"prog", mode=0o755), ["/prog"], says=EXEC)
    entry("no name", REFUSED, None, [""])
    entry("a zero byte", REFUSED, None, ["/bin/true", "a\0b"])
    entry("an argument of 200 KiB", EITHER, None, ["/bin/true", "a" * 200000], says=EXEC)
    entry("none, and no command", REFUSED, None, None)
    entry("the runtime itself (CVE-2019-5736)", EITHER, lambda: t().symlink(b"prog", b"/proc/self/exe"), ["/prog", "--version"],
          lacks=["runc version", "crun version"])
    entry("the machine's shell by /proc/1/root", EITHER, lambda: t().symlink(b"prog", b"/proc/1/root/usr/bin/env"), ["/prog"])
    for name, env in [("LD_PRELOAD", ["LD_PRELOAD=" + os.fsdecode(canary) + "/evil.so"]),
                      ("LD_LIBRARY_PATH and PATH", ["LD_LIBRARY_PATH=" + os.fsdecode(canary), "PATH=/bin"]),
                      ("the runtime's own", ["_LIBCONTAINER_INITPIPE=0", "_LIBCONTAINER_STATEDIR=/", "GODEBUG=x", "GOTRACEBACK=2",
                                             "LISTEN_FDS=20", "LISTEN_PID=1"]),
                      ("plyfs' own", ["PLYFS_ROOT=/", "PLYFS_LOG=trace", "PLYFS_LOG_FILE=" + os.fsdecode(canary) + "/log"]),
                      ("newlines", ["A=b\nLD_PRELOAD=/evil.so", "B\n=c"]), ("no =", ["A", "", "HOME"]),
                      ("no name", ["=a", "=", "A=="])]:
        case("environment: " + name, EITHER if name == "no name" else CONTAINED, None, {"Env": env}, lacks=["ld.so", "TRACE", "DEBUG"])
    case("environment: a zero byte", REFUSED, None, {"Env": ["A=b\0c"]})
    case("environment: 200 KiB", EITHER, None, {"Env": ["A=" + "b" * 200000]}, says=EXEC)
    case("stop signal: none that there is", CONTAINED, None, {"StopSignal": "SIGFROB\n; rm -rf /"})
    case("stop signal: a zero byte", CONTAINED, None, {"StopSignal": "\0"})
    case("descriptors of the caller's", CONTAINED, command=["sh", "-c", "for fd in /proc/self/fd/*; do readlink $fd; done"],
         lacks=["canary", "store"])


def big(path, size):
    """An image whose layer is one file of zeros, behind the base."""
    header = bytes(Tar().entry(b"0", path, size=size).data)
    squeeze, blob = zlib.compressobj(1, zlib.DEFLATED, 31), bytearray()
    digest = hashlib.sha256()
    for piece in [header, *[bytes(1 << 20)] * (size >> 20), bytes(1024)]:
        digest.update(piece)
        blob += squeeze.compress(piece)
    return bytes(blob + squeeze.flush()), "sha256:" + digest.hexdigest()


class Run:
    def __init__(self, plyfs, directory, runtime, quick):
        self.plyfs, self.directory = plyfs, os.fsencode(os.path.realpath(directory))
        self.runtime, self.quick = runtime, quick
        self.in_container = ["run", "--rm", "--runtime", runtime]
        self.store = os.path.join(self.directory, b"store")
        self.canary = os.path.join(self.directory, b"canary")
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def call(self, *arguments, data=None, more=()):
        return subprocess.run([self.plyfs, "--root", self.store, *arguments], input=data, capture_output=True,
                              timeout=SECONDS, check=False, pass_fds=more)

    def set_up(self):
        # What loses its parent becomes ours, so that nothing that is left can hide.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.makedirs(self.canary)
        for name, data in [("secret", SECRET), ("passwd", "eve:%s:0:0::/:\n" % SECRET), ("group", "eve:%s:0:\n" % SECRET),
                           ("evil.so", "no library"), ("prog", "#!/bin/sh\necho " + SECRET)]:
            with open(os.path.join(self.canary, name.encode()), "w", encoding="utf-8") as file:
                file.write(data)
        os.chmod(os.path.join(self.canary, b"prog"), 0o755)
        with open("/bin/busybox", "rb") as file:
            busybox = file.read()
        base = Tar().dir(b"bin").file(b"bin/busybox", busybox, mode=0o755)
        for name in ["sh", "cat", "echo", "head", "id", "pwd", "readlink", "true", "timeout", "sleep", "ls"]:
            base.symlink(b"bin/" + name.encode(), b"busybox")
        base.dir(b"etc").file(b"etc/passwd", b"root:x:0:0::/root:/bin/sh\n").file(b"etc/group", b"root:x:0:\n")
        for name in [b"proc", b"dev", b"sys"]:
            base.dir(name)
        self.base = base.end()
        self.good("import", "-", "base:1", data=self.base)
        said = self.call(*self.in_container, "base:1", "id")
        if said.returncode:
            print("SKIPPED: containers do not run here: %s" % said.stderr.decode(errors="replace").strip())
            self.counts["skipped"] = len(CASES)
            return False
        if SECRET not in self.good(*self.in_container, "-v", os.fsdecode(self.canary) + ":/place:ro", "base:1", "sh", "-c", PROBE,
                                   "/place"):
            sys.exit("the probe does not see what it should")
        self.wait_for_the_end()
        self.outside = self.look()
        self.beside = sorted(os.listdir(self.directory))
        self.inside = snapshot(self.store)
        return True

    def good(self, *arguments, data=None):
        result = self.call(*arguments, data=data)
        if result.returncode:
            sys.exit("%s: %s" % (arguments, result.stderr.decode(errors="replace")))
        return result.stdout.decode(errors="replace")

    def look(self):
        """The canary, and the files of the machine."""
        facts = [snapshot(self.canary)]
        for path in MACHINE:
            try:
                stat = os.stat(path)
                facts.append((path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode, stat.st_uid))
            except FileNotFoundError:
                facts.append((path, None))
        return facts

    def wait_for_the_end(self):
        """What still runs of what was started, after a while. It is ended."""
        deadline = time.monotonic() + 10
        while True:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return []
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        left = []
        with open("/proc/self/task/%d/children" % os.getpid(), encoding="ascii") as file:
            for pid in file.read().split():
                with open("/proc/%s/cmdline" % pid, "rb") as line:
                    left.append("%s: %r" % (pid, line.read()[:80]))
                os.kill(int(pid), signal.SIGKILL)
        return left

    def archive(self, one):
        if isinstance(one["layer"], bytes):
            blob, diff_id = big(one["layer"], 1 << 30)
            image = Image(self.base, compressed="gzip", blobs=[gzip.compress(self.base, 1, mtime=0), blob])
            image.config["rootfs"]["diff_ids"].append(diff_id)
        else:
            image = Image(self.base, one["layer"]().end())
        image.config["config"] = one["config"]
        return image.oci()

    def case(self, one):
        loaded = self.call("load", data=self.archive(one))
        if loaded.returncode:
            # Refused even earlier.
            why = loaded.stderr.decode(errors="replace").strip()
            wrong = [] if one["expected"] != CONTAINED and why else ["it was not loaded: " + why]
            return wrong + self.after(), "not loaded: " + why
        command = ["sh", "-c", PROBE, os.fsdecode(self.canary)] if one["command"] is None else one["command"]
        canary = os.open(self.canary, os.O_RDONLY)
        try:
            result = self.call(*self.in_container, *one["options"], "hostile:1", *command, more=[canary])
            wrong, why = self.verify(one, result)
        except subprocess.TimeoutExpired:
            wrong, why = ["no end after %d s" % SECONDS], ""
            self.call("rm", "--force", "--all")
        os.close(canary)
        removed = self.call("rmi", "-f", "hostile:1")
        if removed.returncode:
            wrong.append("rmi: " + removed.stderr.decode(errors="replace"))
        return wrong + self.after(), why

    def verify(self, one, result):
        wrong = []
        code, stderr = result.returncode, result.stderr.decode(errors="replace")
        said = result.stdout.decode(errors="replace") + stderr
        refused = code in (125, 126, 127)
        if "panicked" in stderr or code < 0:
            wrong.append("exit status %d: %s" % (code, stderr[-400:]))
        if one["expected"] == REFUSED and not refused:
            wrong.append("it ran (%d): %s" % (code, said[-400:]))
        if one["expected"] == CONTAINED and refused:
            wrong.append("it was refused: " + stderr[-400:])
        if refused and "plyfs: error: " not in stderr:
            wrong.append("refused without a word of ours: %r" % stderr[-400:])
        if refused and any(ord(char) < 32 and char != "\n" for char in stderr):
            wrong.append("control characters in the message: %r" % stderr[-300:])
        # What it was given on purpose it may see.
        if SECRET in said and "-v" not in one["options"]:
            wrong.append("IT SAW THE CANARY: %s" % said[-400:])
        says = EXEC[self.runtime] if one["says"] is EXEC else one["says"]
        if not refused and says and says not in said:
            wrong.append("%r is not in what it said: %s" % (says, said[-400:]))
        wrong += ["%r is in what it said: %s" % (text, said[-400:]) for text in one["lacks"] if text in said]
        return wrong, ("exit %d " % code) + stderr.strip().replace("\n", " | ")[-150:]

    def after(self):
        wrong = []
        left = self.wait_for_the_end()
        if left:
            wrong.append("PROCESSES ARE LEFT: %s" % left)
        with open("/proc/self/mountinfo", "rb") as file:
            mounts = [line.split(b" ")[4] for line in file if line.split(b" ")[4].startswith(self.store)]
        if mounts:
            wrong.append("MOUNTS ARE LEFT: %s" % mounts)
        if self.look() != self.outside:
            wrong.append("THE CANARY OR A FILE OF THE MACHINE HAS CHANGED")
            self.outside = self.look()
        if sorted(os.listdir(self.directory)) != self.beside:
            wrong.append("THERE ARE NEW FILES BESIDE THE STORE: %s" % sorted(os.listdir(self.directory)))
        if snapshot(self.store) != self.inside:
            wrong.append("the store is not as before: %s" % os.listdir(os.path.join(self.store, b"containers")))
            self.call("rm", "--force", "--all")
            self.call("prune", "-f")
            self.inside = snapshot(self.store)
        return wrong

    def everything(self):
        for one in CASES:
            if one["full"] and self.quick:
                continue
            wrong, why = self.case(one)
            self.counts["failed" if wrong else "passed"] += 1
            if os.environ.get("VERBOSE"):
                print("%-7s %s: %s" % ("FAILED" if wrong else "ok", one["name"], why))
            elif wrong:
                print("FAILED  %s" % one["name"])
            for sentence in wrong:
                print("        %s" % sentence)
            sys.stdout.flush()


def main():
    plyfs, directory, runtime = sys.argv[1:4]
    run = Run(plyfs, directory, runtime, "--quick" in sys.argv)
    users(run.canary)
    directories(run.canary)
    programs(run.canary)
    if "--list" in sys.argv:
        for one in CASES:
            print("%-9s %s" % (one["expected"], one["name"]))
        return
    if run.set_up():
        run.everything()
    print("%d images: %d passed, %d failed, %d skipped" % (
        len(CASES), run.counts["passed"], run.counts["failed"], run.counts["skipped"]))
    sys.exit(1 if run.counts["failed"] else 0)


if __name__ == "__main__":
    main()
