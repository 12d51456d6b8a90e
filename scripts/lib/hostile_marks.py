"""Layers with marks that a stranger set, and what must come of each: run by scripts/hostile-marks.

usage: hostile_marks.py list
       hostile_marks.py build LAYERS MOUNTER ATTACKER
       hostile_marks.py mount PLYFS LAYERS OPTIONS
       hostile_marks.py sandbox PLYFS LAYERS STORE
       hostile_marks.py walk DIRECTORY
       hostile_marks.py canaries LAYERS

Each layer has the directory `home`, the attacker's, whose marks the attacker sets; what the kernel refuses is not there.
It lies over a base with secrets of the mounter's. Whatever is done with it, each file of `home` is what it is on disk,
and nothing else is in it, but what the base has of that name.
"""

import base64
import ctypes
import io
import json
import os
import stat
import subprocess
import sys
import tarfile

SECRET = b"SECRET of the mounter\n"
CANARY = b"canary\n"
RECORD = "user.containers.override_stat"
PRIVATE = ("user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.", RECORD)
SPACES = ("user", "trusted")
SECONDS = 60

LAYERS = []


def layer(name, *files, root=False, hides=False):
    """A layer. `files`: path below home, `f` or `d`, attributes, content. `root`: the layer's root is the attacker's,
    too. `hides`: names of the base may be hidden."""
    LAYERS.append(dict(name=name, files=files, root=root, hides=hides))


def file(path, attributes, content=b""):
    return (path, "f", attributes, content)


def directory(path, attributes):
    return (path, "d", attributes, b"")


def records():
    own = "{attacker}:{attacker}"
    for kind in ("file", "dir", "symlink", "pipe", "socket", "block-7-0", "block-8-1", "char-1-3", "char-1-1",
                 "char-0-0"):
        for owner, mode in (("0:0", "04755"), (own, "06777"), ("{mounter}:{mounter}", "0666")):
            layer("record: %s of %s, %s" % (kind, owner, mode), file("f", {RECORD: "%s:%s:%s" % (owner, mode, kind)}))
    for value in ("0:0:01777:dir", "0:0:0777", "{mounter}:0:04755:file"):
        layer("record on a directory: " + value, directory("d", {RECORD: value}))
    for value in ("0:0:04755", "0:0:0177777:file", "0:0:04755:block-4294967295-4294967295", "junk", "",
                  "-1:-1:07777:file", "0:0:04755:file:x"):
        layer("record: %r" % value, file("f", {RECORD: value}, b"own"))
    for name in ("trusted.containers.override_stat", "trusted.overlay.override_stat", "user.overlay.override_stat",
                 "user.fuseoverlayfs.override_stat"):
        layer("record: under the name " + name, file("f", {name: "0:0:04755:block-7-0"}))
    layer("record: in a layer of the attacker's", file("f", {RECORD: "0:0:04755:file"}, b"#!/bin/sh\n"),
          file("device", {RECORD: "0:0:0666:char-1-1"}), root=True)


def leading():
    ways = ("/secret", "secret", "../secret", "/closed/in", "closed/in", "/../../etc/shadow", "/home/../secret", "/",
            "/home/below", "")
    for space in SPACES:
        metacopy, redirect = "%s.overlay.metacopy" % space, "%s.overlay.redirect" % space
        for way in ways:
            layer("%s metacopy: to %r" % (space, way), file("f", {metacopy: "", redirect: way}, bytes(len(SECRET))))
        layer("%s metacopy: without a redirect, over a closed file" % space, file("below", {metacopy: ""}, b"own"))
        layer("%s metacopy: with a digest" % space,
              file("below", {metacopy: "\0\x24\0\1" + "x" * 32, redirect: "/secret"}, b"own"))
        layer("%s redirect: on a file with data" % space, file("f", {redirect: "/secret"}, b"own"))
        for way in ("/closed", "closed", "../closed", "/", "", "..", "/closed/../closed", "a/b", "/home", "/closed/sub"):
            layer("%s redirect: of a directory to %r" % (space, way), directory("d", {redirect: way}))
    layer("metacopy and redirect in a layer of the attacker's",
          file("f", {"user.overlay.metacopy": "", "user.overlay.redirect": "/secret"}, bytes(len(SECRET))),
          directory("d", {"user.overlay.redirect": "/closed"}), root=True)


def others():
    for name in ("user.overlay.opaque", "trusted.overlay.opaque", "user.fuseoverlayfs.opaque"):
        for value in ("y", "x", "junk"):
            layer("%s=%s" % (name, value), directory("", {name: value}), file("f", {}), hides=True)
    for space in SPACES:
        def mark(kind, value, space=space):
            return {"%s.overlay.%s" % (space, kind): value}

        layer("%s whiteout" % space, directory("", mark("opaque", "x")), file("below", mark("whiteout", "")),
              file("f", {}), hides=True)
        layer("%s origin: another file's" % space, file("f", mark("origin", "{handle}"), b"own"))
        layer("%s origin: another directory's" % space, directory("d", mark("origin", "{handle}")))
        layer("%s origin: junk" % space, file("f", mark("origin", "\0\xfb\xff\0\1junk"), b"own"))
        for count in ("U+2147483647", "U-2147483648", "U-1", "L+1", "U+99999999999", "junk"):
            layer("%s nlink: %s" % (space, count), file("f", mark("nlink", count), b"own"))
        for kind in ("impure", "protattr", "uuid", "upper", "unknown", "verity"):
            layer("%s %s" % (space, kind), directory("d", mark(kind, "y")), file("f", mark(kind, "ia"), b"own"))
    layer("all at once", directory("d", {"user.overlay.redirect": "/closed", RECORD: "0:0:01777:dir"}),
          file("f", {"user.overlay.metacopy": "", "user.overlay.redirect": "/secret", RECORD: "0:0:04755:file",
                     "user.overlay.nlink": "U+7", "user.overlay.origin": "{handle}"}, b"own"), root=True)


records()
leading()
others()


# ---- building ------------------------------------------------------------------------------------

def write(path, content, mode=0o644):
    with open(path, "wb") as out:
        out.write(content)
    os.chmod(path, mode)


def origin(path):
    """The mark that the kernel would write for a copy of the file (struct ovl_fb), without the file system's UUID."""
    buffer = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint.from_buffer(buffer).value = 128
    mount = ctypes.c_int()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(mount), 0) < 0:
        return "none"
    size = ctypes.c_uint.from_buffer(buffer).value
    handle = buffer.raw[8:8 + size]
    return (bytes([0, 0xfb, 21 + size, 0, buffer.raw[4]]) + bytes(16) + handle).decode("latin-1")


def as_attacker(attacker, work):
    """Does it in a process of the attacker's."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(attacker)
        os.setuid(attacker)
        work()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("the attacker's process failed")


def make_files(home, files, values):
    for path, kind, attributes, content in files:
        at = os.path.join(home, path) if path else home
        if kind == "d":
            os.makedirs(at, exist_ok=True)
        else:
            write(at, content)
        for name, value in attributes.items():
            for key, text in values.items():
                value = value.replace("{%s}" % key, text)
            try:
                os.setxattr(at, name, value.encode("latin-1"))
            except OSError:
                # trusted.*, and what the kernel finds no attribute.
                pass


def build(layers, mounter, attacker):
    os.mkdir(layers)
    write(os.path.join(layers, "canary"), CANARY)
    for number, case in enumerate(LAYERS):
        at = os.path.join(layers, str(number))
        base, top = os.path.join(at, "base"), os.path.join(at, "top")
        for path in (at, base, top, *(os.path.join(at, name) for name in ("upper", "work", "merged"))):
            os.mkdir(path)
        write(os.path.join(base, "secret"), SECRET, 0o600)
        os.mkdir(os.path.join(base, "closed"))
        write(os.path.join(base, "closed/in"), SECRET)
        os.mkdir(os.path.join(base, "closed/sub"))
        write(os.path.join(base, "closed/sub/in"), SECRET)
        os.chmod(os.path.join(base, "closed"), 0o700)
        os.mkdir(os.path.join(base, "home"))
        write(os.path.join(base, "home/below"), SECRET, 0o600)
        write(os.path.join(at, "canary"), CANARY)
        for here, _, names in os.walk(at):
            for path in (here, *(os.path.join(here, name) for name in names)):
                os.lchown(path, mounter, mounter)
        home = os.path.join(top, "home")
        os.mkdir(home)
        os.chown(home, attacker, attacker)
        if case["root"]:
            os.chown(top, attacker, attacker)
        values = {"attacker": str(attacker), "mounter": str(mounter), "handle": origin(os.path.join(base, "secret"))}

        def work(case=case, home=home, top=top, values=values):
            os.umask(0o022)
            make_files(home, case["files"], values)
            if case["root"]:
                make_files(top, [directory("", {RECORD: "0:0:0755:dir", "user.overlay.origin": "{handle}"})], values)

        as_attacker(attacker, work)


# ---- looking -------------------------------------------------------------------------------------

def look(path):
    """What a file is to whoever looks."""
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    content = ""
    if kind == stat.S_IFREG:
        try:
            with open(path, "rb") as file:
                content = base64.b64encode(file.read(4096)).decode()
        except PermissionError:
            content = "closed"
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    return dict(kind=kind, mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid, rdev=found.st_rdev,
                links=found.st_nlink if kind == stat.S_IFREG else 0, content=content)


def walk(top):
    """All of a tree, by path."""
    found = {"": look(top)}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = look(path)
    return found


def differences(case, expected, found, ignored=()):
    """What is wrong with what was found."""
    wrong = []
    for path, is_now in found.items():
        was = expected.get(path)
        if was is None:
            wrong.append("%r came in" % path)
            continue
        for key in was:
            if key not in ignored and was[key] != is_now[key]:
                wrong.append("%r: %s is %r, not %r" % (path, key, is_now[key], was[key]))
    for path in expected:
        if path not in found and not case["hides"]:
            wrong.append("%r is gone" % path)
    return wrong


def private(top):
    wrong = []
    for directory, names, files in os.walk(top):
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            shown = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith(PRIVATE)]
            wrong += ["%r shows %s" % (path, name) for name in shown]
    return wrong


def expectation(at):
    """What `home` must be: the attacker's files as they are, and what the base has of other names."""
    expected = walk(os.path.join(at, "base/home"))
    expected.update(walk(os.path.join(at, "top/home")))
    return expected


class Run:
    """Cases as whoever runs this."""

    def __init__(self, plyfs):
        self.plyfs = plyfs
        self.passed = self.failed = 0

    def call(self, *arguments):
        return subprocess.run([self.plyfs, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=SECONDS)

    def count(self, title, wrong):
        if wrong:
            self.failed += 1
            print("FAILED  " + title)
            for line in wrong[:8]:
                print("        " + line)
        else:
            self.passed += 1
            if os.environ.get("VERBOSE"):
                print("ok      " + title)

    def end(self, what):
        print("%s: %d passed, %d failed, 0 skipped" % (what, self.passed, self.failed))
        sys.exit(1 if self.failed else 0)

    def mounted(self, at, layers, options, work):
        """Mounts, works, unmounts."""
        merged = os.path.join(at, "merged")
        made = self.call("mount", *layers, *(["-o", options] if options else []), merged)
        if made.returncode:
            return ["not mounted: " + made.stderr.decode(errors="replace")]
        try:
            return work(merged)
        finally:
            gone = self.call("unmount", merged)
            if gone.returncode:
                print("not unmounted: " + gone.stderr.decode(errors="replace"))

    def lower(self, at, case, options):
        """The attacker's layer as a lower, before and after a copy-up."""
        expected = expectation(at)
        paths = {name: os.path.join(at, name) for name in ("top", "base", "upper", "work")}
        layers = ["--lower", paths["top"], "--lower", paths["base"], "--upper", paths["upper"], "--work", paths["work"]]

        def first(merged):
            home = os.path.join(merged, "home")
            wrong = differences(case, expected, walk(home)) + private(home)
            wrong += self.same_number(merged)
            for path, was in expected.items():
                try:
                    # Copies it up, where that may be.
                    os.chmod(os.path.join(home, path), was["mode"])
                    if stat.S_ISREG(os.lstat(os.path.join(home, path)).st_mode) and was["content"] != "closed":
                        with open(os.path.join(home, path), "ab"):
                            pass
                except OSError:
                    pass
            return wrong + differences(case, expected, walk(home), ["links"])

        def again(merged):
            return differences(case, expected, walk(os.path.join(merged, "home")), ["links"])

        return self.mounted(at, layers, options, first) + self.mounted(at, layers, options, again)

    @staticmethod
    def same_number(merged):
        """Files of the attacker's that pass for the secret."""
        number = os.lstat(os.path.join(merged, "secret")).st_ino
        home = os.path.join(merged, "home")
        names = [os.path.join(directory, name) for directory, _, files in os.walk(home) for name in files]
        return ["%r has the secret's number" % name for name in names if os.lstat(name).st_ino == number]

    def upper(self, at, case, options):
        """The attacker's files in the upper, which they can reach."""
        expected = expectation(at)
        layers = ["--lower", os.path.join(at, "base"), "--upper", os.path.join(at, "top"),
                  "--work", os.path.join(at, "work")]

        def look_around(merged):
            home = os.path.join(merged, "home")
            return differences(case, expected, walk(home)) + private(home) + self.same_number(merged)

        return self.mounted(at, layers, options, look_around)

    def pack(self, at):
        """The attacker's layer as a tar."""
        packed = self.call("layer", "pack", "--upper", os.path.join(at, "top"), "--lower", os.path.join(at, "base"),
                           "-o", "-")
        if packed.returncode:
            # Something damaged may be refused, aloud.
            return [] if packed.stderr.strip() else ["failed without a word"]
        wrong, found = [], 0
        expected = walk(os.path.join(at, "top"))
        tar = tarfile.open(fileobj=io.BytesIO(packed.stdout))
        for entry in tar:
            path = entry.name.rstrip("/")
            if os.path.basename(path).startswith(".wh."):
                continue
            was = expected.get(path)
            if was is None:
                wrong.append("%r came in" % path)
                continue
            found += 1
            kinds = {stat.S_IFREG: entry.isreg(), stat.S_IFDIR: entry.isdir()}
            if not kinds.get(was["kind"]):
                wrong.append("%r has the type %r" % (path, entry.type))
            elif (entry.mode, entry.uid, entry.gid) != (was["mode"], was["uid"], was["gid"]):
                wrong.append("%r is %o of %d" % (path, entry.mode, entry.uid))
            elif entry.isreg() and base64.b64encode(tar.extractfile(entry).read(4096)).decode() != was["content"]:
                wrong.append("%r has another content" % path)
            wrong += ["%r bears %s" % (path, key) for key in entry.pax_headers if "overlay" in key or RECORD in key]
        return wrong + ([] if found else ["nothing was packed"])

    def diff(self, at):
        """What is listed of the attacker's layer."""
        told = self.call("diff", "--upper", os.path.join(at, "top"), "--lower", os.path.join(at, "base"))
        if told.returncode:
            return [] if told.stderr.strip() else ["failed without a word"]
        expected = {"/" + path for path in walk(os.path.join(at, "top"))}
        expected |= {"/home/below"}
        lines = [line.decode() for line in told.stdout.splitlines()]
        return ["%r is listed" % line for line in lines if line[2:] not in expected]


def mount(plyfs, layers, options):
    run = Run(plyfs)
    for number, case in enumerate(LAYERS):
        at = os.path.join(layers, str(number))
        run.count("lower:  " + case["name"], run.lower(at, case, options))
        run.count("upper:  " + case["name"], run.upper(at, case, options))
        if not options or options == "metacopy=on":
            run.count("packed: " + case["name"], run.pack(at))
            run.count("diff:   " + case["name"], run.diff(at))
    run.end("%d layers" % len(LAYERS))


def sandbox(plyfs, layers, store):
    run = Run(plyfs)
    os.environ["PLYFS_ROOT"] = store
    tops = [os.path.join(layers, str(number), "top/home") for number in range(len(LAYERS))]
    shown = run.call("sandbox", "--discard", "--", sys.executable, os.path.abspath(__file__), "walk", *tops)
    try:
        found = json.loads(shown.stdout.split(b"\n")[0])
    except ValueError:
        run.count("sandbox", ["failed: " + shown.stderr.decode(errors="replace")])
        run.end("%d layers" % len(LAYERS))
    # To an ordinary user all owners are the user's own.
    ignored = [] if os.geteuid() == 0 else ["uid", "gid"]
    for case, top in zip(LAYERS, tops):
        run.count("sandbox: " + case["name"], differences(dict(hides=False), walk(top), found[top], ignored))
    lines = [line for line in shown.stdout.split(b"\n")[1:] if line]
    run.count("no change is told", ["%r" % line for line in lines])
    run.end("%d layers" % len(LAYERS))


def canaries(layers):
    for number in range(len(LAYERS)):
        at = os.path.join(layers, str(number))
        for path, content in (("../canary", CANARY), ("canary", CANARY), ("base/secret", SECRET),
                              ("base/closed/in", SECRET), ("base/home/below", SECRET)):
            with open(os.path.join(at, path), "rb") as file:
                if file.read() != content:
                    sys.exit("%s of %s changed" % (path, LAYERS[number]["name"]))


def main():
    verb, *arguments = sys.argv[1:]
    if verb == "list":
        for case in LAYERS:
            print(case["name"])
    elif verb == "build":
        build(arguments[0], int(arguments[1]), int(arguments[2]))
    elif verb == "mount":
        mount(*arguments)
    elif verb == "sandbox":
        sandbox(*arguments)
    elif verb == "walk":
        print(json.dumps({top: walk(top) for top in arguments}), flush=True)
    elif verb == "canaries":
        canaries(*arguments)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
