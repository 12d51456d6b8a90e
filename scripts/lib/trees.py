"""A tree with everything that is hard to keep, changes of it, and a comparison of trees as tars.

usage: trees.py base TAR              writes the tree as a tar
       trees.py change UPPER BASE OUT changes a container's upper directory; writes what the container must show then,
                                      given the tar BASE, as a listing
       trees.py list TAR              prints a tar's listing: a line for each path, with everything that must be kept
       trees.py compare A B           compares two listings; says what differs, and fails if anything does
"""

import hashlib
import os
import stat
import struct
import sys
import tarfile

from rawtar import Tar, long

ODD_NAMES = [b" ", b"  spaces at both ends  ", b"new\nline", b"tab\t", b"\xff\xfe no UTF-8 \x80", b"n" * 255, b"-rf", b"*?[a]",
             b"\\back\\slash", b"quote'\"", "äöü \U0001f600".encode(), b"a=b", b"a.wh.b", b".whx", b"wh.a", b"x.wh.", b"\x01\x02\x7f",
             b"%s%n", b"...", b"~", b"#", b"$HOME", b"ends in a dot."]
TIMES = {b"epoch": 0, b"before 1970": -1_000_000_000, b"far future": 15_000_000_000, b"one": 1, b"minus one": -1}
# Version 2, cap_net_raw+ep.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
# u::rwx u:1234:r-- g::r-x m::r-x o::r-x
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in [
    (1, 7, 0xffffffff), (2, 4, 1234), (4, 5, 0xffffffff), (16, 5, 0xffffffff), (32, 5, 0xffffffff)])


def base(path, as_root):
    tar = Tar()
    tar.dir(b"./", mtime=1_600_000_000)
    tar.dir(b"plain", mtime=1_600_000_001).file(b"plain/file", b"content", mode=0o640, uid=12, gid=34)
    tar.file(b"plain/empty", b"", mode=0).file(b"plain/deleted", b"gone").dir(b"plain/gone").file(b"plain/gone/file")
    tar.dir(b"links").file(b"links/one", b"linked" * 100, uid=5)
    tar.hardlink(b"links/two", b"links/one").hardlink(b"plain/three", b"links/one")
    tar.symlink(b"links/symlink", b"../plain/file").symlink(b"links/dangling", b"/no/such/file", uid=77, gid=88)
    tar.hardlink(b"links/symlink too", b"links/symlink")
    long(tar, b"links/long", b"2", link=b"l" * 300)
    tar.dir(b"modes")
    for mode in [0o4755, 0o2755, 0o6711, 0o1644, 0o000, 0o777, 0o400]:
        tar.file(b"modes/%o" % mode, b"m", mode=mode)
    tar.dir(b"modes/sticky", mode=0o1777).dir(b"modes/setgid", mode=0o2775, gid=50).dir(b"modes/closed", mode=0)
    tar.file(b"modes/closed/file", b"inside")
    tar.dir(b"owners")
    for owner in [1, 1000, 65534, 100_000, 3_000_000_000, 4294967294]:
        tar.pax([(b"uid", b"%d" % owner), (b"gid", b"%d" % (owner - 1))]).file(b"owners/%d" % owner)
    tar.dir(b"devices").entry(b"3", b"devices/null", mode=0o666, device=(1, 3))
    tar.entry(b"4", b"devices/disk", mode=0o660, gid=6, device=(259, 1048575)).entry(b"6", b"devices/fifo", mode=0o622)
    tar.dir(b"names")
    for name in ODD_NAMES:
        long(tar, b"names/" + name, data=name)
    for depth in range(1, 121):
        long(tar, b"/".join([b"deep"] * depth), b"5", mode=0o755)
    long(tar, b"/".join([b"deep"] * 120) + b"/" + b"n" * 200, data=b"deep")
    tar.dir(b"times")
    for name, when in TIMES.items():
        tar.file(b"times/" + name, mtime=when)
    tar.pax([(b"mtime", b"1234567890.123456789")]).file(b"times/nanoseconds")
    tar.pax([(b"mtime", b"-1234567890.5")]).file(b"times/nanoseconds before 1970")
    tar.dir(b"xattrs")
    long(tar, b"xattrs/user", xattrs=[(b"user.text", b"value"), (b"user.bytes", bytes(range(256))), (b"user.empty", b""),
                                      (b"user.a=b", b"="), (b"user.long", b"v" * 2000)], data=b"x")
    long(tar, b"xattrs/directory", b"5", xattrs=[(b"user.of.directory", b"1")], mode=0o755)
    long(tar, b"xattrs/capability", xattrs=[(b"security.capability", CAPABILITY)] if as_root else [], data=b"x", mode=0o755)
    long(tar, b"xattrs/acl", xattrs=[(b"system.posix_acl_access", ACL)] if as_root else [], data=b"x", mode=0o755)
    tar.dir(b"large").file(b"large/zeros", bytes(3_000_000)).file(b"large/block", b"b" * 512).file(b"large/more", b"b" * 513)
    with open(path, "wb") as file:
        file.write(tar.end())


def listing(path):
    """Path to what must be kept, from a tar."""
    found, first = {}, {}
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.strip("/").removeprefix("./") or "."
            # Not every tool lists the root.
            if name == ".":
                continue
            pax = member.pax_headers
            xattrs = sorted((key[13:], value.encode("utf-8", "surrogateescape").hex())
                            for key, value in pax.items()
                            if key.startswith("SCHILY.xattr."))
            if member.islnk():
                target = member.linkname.strip("/").removeprefix("./")
                found[name] = found[target]
                first[name] = first[target]
                continue
            content = hashlib.sha256(tar.extractfile(member).read()).hexdigest()[:16] if member.isreg() else ""
            found[name] = [member.type.decode(), "%o" % member.mode, member.uid, member.gid, int(member.mtime // 1), content,
                           member.linkname if member.issym() else "",
                           (member.devmajor, member.devminor) if member.ischr() or member.isblk() else "", xattrs]
            # A symbolic link's mode means nothing.
            if member.issym():
                found[name][1] = ""
            first[name] = name
    return lines(found, first)


def lines(found, first):
    groups = {}
    for name, one in first.items():
        groups.setdefault(one, set()).add(name)
    return {name: repr((*what, sorted(groups[first[name]] - {name}))) for name, what in found.items()}


class Upper:
    """Files written as the mount writes them, for root or for an ordinary user, and what must be seen then."""

    def __init__(self, root, base_tar):
        self.root, self.as_root, self.seen = os.fsencode(root), os.geteuid() == 0, listing(base_tar)
        self.late = []

    def path(self, name):
        return os.path.join(self.root, name)

    def own(self, name, mode, uid, gid, kind, mtime):
        path = self.path(name)
        if self.as_root:
            os.chown(path, uid, gid, follow_symlinks=False)
            if kind != b"symlink":
                os.chmod(path, mode)
        elif kind != b"symlink":
            os.setxattr(path, "user.containers.override_stat", b"%d:%d:0%o:%s" % (uid, gid, mode, kind))
        self.late.append((path, mtime))

    def note(self, name, what, group=()):
        self.seen[name.decode("utf-8", "surrogateescape")] = repr((*what, sorted(group)))

    def dir(self, name, mode=0o755, uid=0, gid=0, mtime=1_650_000_000):
        if not os.path.isdir(self.path(name)):
            os.mkdir(self.path(name))
        self.own(name, mode, uid, gid, b"dir", mtime)
        if name:
            self.note(name, ["5", "%o" % mode, uid, gid, mtime, "", "", "", []])

    def file(self, name, data, mode=0o644, uid=0, gid=0, mtime=1_650_000_000, xattrs=(), links=(), sparse=0):
        with open(self.path(name), "wb") as file:
            file.write(data)
            if sparse:
                file.truncate(sparse)
                data = data + bytes(sparse - len(data))
        for link in links:
            os.link(self.path(name), self.path(link))
        self.own(name, mode, uid, gid, b"file", mtime)
        # After the owner, whose change takes capabilities away.
        for key, value in xattrs:
            os.setxattr(self.path(name), key, value)
        names = [name, *links]
        for one in names:
            self.note(one, ["0", "%o" % mode, uid, gid, mtime, hashlib.sha256(data).hexdigest()[:16], "", "",
                            sorted((key.decode(), value.hex()) for key, value in xattrs)],
                      [other.decode("utf-8", "surrogateescape") for other in names if other != one])

    def symlink(self, name, target, uid=0, gid=0, mtime=1_650_000_000):
        os.symlink(target, self.path(name))
        self.own(name, 0o777, uid, gid, b"symlink", mtime)
        if not self.as_root:
            # It can bear no record of an owner, and what bears none is root's (S66).
            uid, gid = 0, 0
        self.note(name, ["2", "", uid, gid, mtime, "", target.decode(), "", []])

    def special(self, name, kind, mode, device=(0, 0)):
        letter, mark, bits = {"fifo": ("6", b"pipe", stat.S_IFIFO), "char": ("3", b"char-%d-%d" % device, stat.S_IFCHR),
                              "block": ("4", b"block-%d-%d" % device, stat.S_IFBLK)}[kind]
        if self.as_root:
            os.mknod(self.path(name), mode | bits, os.makedev(*device))
        else:
            with open(self.path(name), "wb"):
                pass
        self.own(name, mode, 0, 0, mark, 1_650_000_000)
        self.note(name, [letter, "%o" % mode, 0, 0, 1_650_000_000, "", "", device if kind != "fifo" else "", []])

    def whiteout(self, name):
        os.mknod(self.path(name), stat.S_IFCHR, 0)
        text = name.decode()
        self.seen = {path: what for path, what in self.seen.items() if path != text and not path.startswith(text + "/")}

    def opaque(self, name):
        os.setxattr(self.path(name), "trusted.overlay.opaque" if self.as_root else "user.overlay.opaque", b"y")
        self.seen = {path: what for path, what in self.seen.items() if not path.startswith(name.decode() + "/")}

    def finish(self):
        for path, mtime in reversed(self.late):
            os.utime(path, ns=(0, mtime * 10**9 + (123456789 if mtime > 0 else 0)), follow_symlinks=False)


def change(root, base_tar, out):
    upper = Upper(root, base_tar)
    upper.dir(b"", mtime=1_660_000_000)
    upper.dir(b"plain", mode=0o751, uid=9, mtime=1_660_000_001)
    upper.whiteout(b"plain/deleted")
    upper.whiteout(b"plain/gone")
    upper.file(b"plain/file", b"changed", mode=0o4711, uid=3_000_000_000, gid=7, mtime=-5)
    upper.dir(b"names", mode=0o700)
    upper.opaque(b"names")
    for name in ODD_NAMES:
        upper.file(b"names/" + name, b"new " + name)
    upper.dir(b"devices")
    upper.special(b"devices/zero", "char", 0o666, (1, 5))
    upper.special(b"devices/loop", "block", 0o660, (7, 0))
    upper.special(b"devices/pipe", "fifo", 0o600)
    upper.dir(b"new", mode=0o3777, uid=1, gid=2)
    upper.file(b"new/one", b"linked", uid=44, links=[b"new/two", b"new/three"])
    upper.file(b"new/sparse", b"start", sparse=5_000_000)
    upper.file(b"new/attributes", b"x", xattrs=[(b"user.new", b"\0\xff=\n"), (b"user.z", b"")])
    upper.file(b"new/future", b"x", mtime=14_000_000_000)
    upper.symlink(b"new/link", b"../plain/file", uid=5, gid=6)
    if upper.as_root:
        upper.file(b"new/capability", b"x", mode=0o755, xattrs=[(b"security.capability", CAPABILITY)])
    upper.finish()
    with open(out, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines("%r %s\n" % item for item in sorted(upper.seen.items()))


def compare(one, two):
    def read(path):
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return set(file.read().splitlines())
    left, right = read(one), read(two)
    for line in sorted(left - right)[:20]:
        print("- " + line[:300])
    for line in sorted(right - left)[:20]:
        print("+ " + line[:300])
    print("%d lines are equal" % len(left & right))
    sys.exit(0 if left == right and left else 1)


def main():
    verb, *arguments = sys.argv[1:]
    if verb == "base":
        base(arguments[0], os.geteuid() == 0)
    elif verb == "change":
        change(*arguments)
    elif verb == "list":
        for item in sorted(listing(arguments[0]).items()):
            print("%r %s" % item)
    else:
        compare(*arguments)


if __name__ == "__main__":
    main()
