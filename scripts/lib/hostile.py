"""Hostile archives, and what must come of each: run by scripts/hostile.

usage: hostile.py PLYFS DIRECTORY [--list] [--quick] [--only layers|archives]

Each archive of a layer goes through `import`, and through `load` as the top layer of an image; each hostile archive of
images goes through `load`. `refused`: an exit status of 1 with a message, and the store is as before. `loaded`: the
image is there, it can be exported, it holds what is said, fsck finds nothing, and after `rmi` the store is as before.
In both cases nothing beside the store, and no other image, has changed.
"""

import gzip
import hashlib
import io
import os
import resource
import subprocess
import sys
import tarfile
import zlib

from rawtar import BLOCK, Image, Tar, compact, descriptor, long, record, sha, tarred

REFUSED, LOADED = "refused", "loaded"
# The most memory that a command may take. What comes must not decide that.
MEGABYTES = 300
# More ups than any directory of a test is deep.
UP = b"../" * 24
SECONDS = 60

LAYERS, ARCHIVES = [], []


def layer(name, tar, outcome, load=None, holds=(), lacks=(), options=(), full=False, user=None):
    """A layer. `load`: what comes of it over a base that has /etc/passwd, /lib -> usr/lib, /out -> the canary and
    /up -> the canary by `..`, where that differs from import. `user`: where an ordinary user sees another outcome."""
    LAYERS.append(dict(name=name, tar=tar, outcome=outcome, load=load or outcome, holds=holds, lacks=lacks,
                       options=list(options), full=full, user=user))


def archive(name, data, outcome, options=(), full=False, text=None):
    """An archive of images. `text`: what the message must hold."""
    ARCHIVES.append(dict(name=name, data=data, outcome=outcome, options=list(options), full=full, text=text))


def t():
    return Tar()


def layers(canary):
    """The hostile layers. `canary` is the directory that must not change."""
    out = canary.lstrip(b"/")

    # Names that lead out.
    layer("name: ..", lambda: t().file(b"../canary-new"), REFUSED)
    layer("name: many ..", lambda: t().file(UP + out + b"/new"), REFUSED)
    layer("name: .. in the middle", lambda: t().dir(b"a").file(b"a/../../b"), REFUSED)
    layer("name: .. that stays inside", lambda: t().dir(b"a").file(b"a/../b"), REFUSED)
    layer("name: .. alone", lambda: t().dir(b".."), REFUSED)
    layer("name: absolute", lambda: t().file(canary + b"/new"), LOADED, holds=[out + b"/new"])
    layer("name: empty", lambda: t().file(b""), REFUSED)
    layer("name: NUL in PAX", lambda: t().pax([(b"path", b"a\0b")]).file(b"x"), REFUSED)
    layer("name: 256 bytes in a component", lambda: long(t(), b"n" * 256), REFUSED)
    layer("name: 255 bytes", lambda: long(t(), b"n" * 255), LOADED, holds=[b"n" * 255])
    layer("name: longer than a path can be", lambda: long(t(), b"a/" * 2500 + b"x"), REFUSED)
    layer("name: no UTF-8", lambda: long(t(), b"\xff\xfe\x80"), LOADED, holds=[b"\xff\xfe\x80"])
    layer("name: newline and escapes", lambda: t().file(b"a\nb\x1b[31m"), LOADED, holds=[b"a\nb\x1b[31m"])
    layer("name: by GNU, with ..", lambda: t().gnu(b"L", UP + out + b"/gnu").file(b"x"), REFUSED)
    layer("name: by ustar's prefix, with ..", lambda: t().file(b"x", prefix=b"a/../.."), REFUSED)
    layer("name: slashes only", lambda: t().file(b"///"), LOADED)
    layer("name: a file that ends in a slash", lambda: t().file(b"a/"), LOADED)

    # Ways out through links.
    layer("symlink: absolute, then a file through it", lambda: t().symlink(b"l", canary).file(b"l/new"), REFUSED)
    layer("symlink: relative, then a file through it", lambda: t().symlink(b"l", UP + out).file(b"l/new"), REFUSED)
    layer("symlink: then a directory through it", lambda: t().symlink(b"l", canary).dir(b"l/sub"), REFUSED)
    layer("symlink: then a whiteout through it", lambda: t().symlink(b"l", canary).file(b"l/.wh.file"), REFUSED)
    layer("symlink: then an opaque mark through it", lambda: t().symlink(b"l", canary).file(b"l/.wh..wh..opq"), REFUSED)
    layer("symlink: to a file, then written over", lambda: t().symlink(b"l", canary + b"/file").file(b"l", b"new"),
          LOADED, holds=[b"l"])
    layer("symlink: to a directory, then that directory", lambda: t().symlink(b"l", canary).dir(b"l", mode=0o777),
          LOADED, holds=[b"l"])
    layer("symlink: to a directory, made one, then a file in it",
          lambda: t().symlink(b"l", canary).dir(b"l").file(b"l/new"), LOADED, holds=[b"l/new"])
    layer("symlink: a chain", lambda: t().symlink(b"a", b"b").symlink(b"b", canary).file(b"a/new"), REFUSED)
    layer("symlink: to itself, then through it", lambda: t().symlink(b"a", b"a").file(b"a/new"), REFUSED)
    layer("symlink: the root", lambda: t().symlink(b"./", canary).file(b"new"), REFUSED)
    layer("symlink: of the base, out of it", lambda: t().file(b"out/new"), LOADED)
    layer("symlink: of the base, upward", lambda: t().file(b"up/new"), LOADED)
    layer("symlink: of the base, a directory over it", lambda: t().dir(b"out").file(b"out/new"), LOADED,
          holds=[b"out/new"])
    layer("symlink: whiteout through one of the base", lambda: t().file(b"out/.wh.file"), LOADED)
    layer("symlink: empty target", lambda: t().symlink(b"l", b""), REFUSED)
    layer("symlink: target of 5000 bytes", lambda: long(t(), b"l", b"2", link=b"x" * 5000), REFUSED)
    layer("hard link: to a file outside", lambda: t().hardlink(b"l", UP + out + b"/file").file(b"l", b"new"), REFUSED)
    layer("hard link: to an absolute path", lambda: t().hardlink(b"l", canary + b"/file"), REFUSED)
    layer("hard link: through a link", lambda: t().symlink(b"d", canary).hardlink(b"l", b"d/file"), REFUSED)
    layer("hard link: to a link out, then written",
          lambda: t().symlink(b"s", canary + b"/file").hardlink(b"l", b"s").file(b"l", b"new"), LOADED)
    layer("hard link: to a link out, then its mode", lambda: t().symlink(b"s", canary + b"/file").hardlink(
        b"l", b"s", mode=0o7777), LOADED)
    layer("hard link: to a directory", lambda: t().dir(b"d").hardlink(b"l", b"d"), REFUSED)
    layer("hard link: to the root", lambda: t().hardlink(b"l", b"."), REFUSED)
    layer("hard link: to nothing", lambda: t().hardlink(b"l", b"nothing"), REFUSED)
    layer("hard link: to itself", lambda: t().hardlink(b"l", b"l"), REFUSED)
    layer("hard link: to a file of the base", lambda: t().hardlink(b"l", b"etc/passwd"), REFUSED, load=LOADED)
    layer("hard link: to one of the base through its link out", lambda: t().hardlink(b"l", b"out/file"), REFUSED)
    layer("hard link: through a whiteout", lambda: t().file(b".wh.etc").hardlink(b"l", b"etc/passwd"), REFUSED)
    layer("hard link: empty target", lambda: t().hardlink(b"l", b""), REFUSED)
    layer("hard link: with content", lambda: t().file(b"f").entry(b"1", b"l", link=b"f", data=b"more" * 200), REFUSED)

    # Types and kinds.
    layer("root: a file", lambda: t().file(b"."), REFUSED)
    layer("root: a device", lambda: t().entry(b"3", b"/", device=(1, 3)), REFUSED)
    layer("root: mode 0", lambda: t().dir(b"./", mode=0).file(b"f"), LOADED, holds=[b"f"])
    layer("file: then a directory below it", lambda: t().file(b"a").file(b"a/b"), REFUSED)
    layer("file: over a full directory", lambda: t().dir(b"a").file(b"a/b").file(b"a"), LOADED, lacks=[b"a/b"])
    layer("file: the same path 1000 times", lambda: many(t(), 1000), LOADED, holds=[b"f"])
    layer("directory: mode 0, then files in it", lambda: t().dir(b"d", mode=0).file(b"d/f"), LOADED, holds=[b"d/f"])
    layer("device: disk", lambda: t().entry(b"4", b"sda", mode=0o666, device=(8, 0)), LOADED, holds=[b"sda"])
    layer("device: kmem", lambda: t().entry(b"3", b"kmem", mode=0o666, device=(1, 2)), LOADED, holds=[b"kmem"])
    layer("device: 0:0, a whiteout in disguise", lambda: t().entry(b"3", b"etc", device=(0, 0)), REFUSED)
    layer("device: number out of range", lambda: t().entry(b"3", b"d", device=(1 << 40, 1)), REFUSED)
    layer("device: negative number", lambda: t().entry(b"4", b"d", device=(-1, -1)), REFUSED)
    layer("fifo: then written", lambda: t().entry(b"6", b"p").file(b"p"), LOADED)
    layer("fifo: then hard link to it, then written",
          lambda: t().entry(b"6", b"p").hardlink(b"l", b"p").file(b"l", b"x" * 9999), LOADED)
    layer("type: unknown", lambda: t().entry(b"Z", b"f"), REFUSED)
    layer("type: GNU sparse", lambda: t().entry(b"S", b"f", data=bytes(512), magic=b"ustar  \0"), REFUSED)
    layer("type: PAX sparse", lambda: t().pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]).file(b"f"),
          REFUSED)
    layer("type: GNU multi-volume", lambda: t().entry(b"M", b"f"), REFUSED)
    layer("set-user-id for root", lambda: t().file(b"su", mode=0o6755), LOADED, holds=[b"su"])

    # Whiteouts.
    layer("whiteout: of nothing (.wh.)", lambda: t().file(b".wh."), REFUSED)
    layer("whiteout: of .", lambda: t().file(b"a/.wh.."), REFUSED)
    layer("whiteout: of ..", lambda: t().file(b"a/.wh..."), REFUSED)
    layer("whiteout: that is a directory", lambda: t().dir(b".wh.etc"), REFUSED)
    layer("whiteout: a file below one", lambda: t().file(b".wh.etc/f"), REFUSED)
    layer("whiteout: a link named so", lambda: t().symlink(b".wh.etc", canary), LOADED)
    layer("whiteout: of a whiteout", lambda: t().file(b".wh..wh.etc"), LOADED)
    layer("whiteout: of the base's file and the file", lambda: t().file(b"etc/.wh.passwd").file(b"etc/passwd"), LOADED,
          holds=[b"etc/passwd"])
    layer("whiteout: of what the layer has", lambda: t().file(b"f").file(b".wh.f"), LOADED)
    layer("whiteout: name of 255 bytes", lambda: long(t(), b".wh." + b"n" * 251), LOADED)
    layer("whiteout: with content", lambda: t().file(b".wh.etc", b"x" * 5000), LOADED, lacks=[b"etc/passwd"])
    layer("opaque: the root", lambda: t().file(b".wh..wh..opq"), LOADED, lacks=[b"etc/passwd"])
    layer("opaque: a directory", lambda: t().dir(b"d/.wh..wh..opq"), REFUSED)
    layer("opaque: of a link of the base", lambda: t().file(b"out/.wh..wh..opq"), LOADED)
    layer("AUFS's own directories", lambda: t().dir(b".wh..wh.plnk").file(b".wh..wh.plnk/1.2").file(b".wh..wh.aufs"),
          LOADED)

    # Extended attributes.
    for key in [b"trusted.overlay.opaque", b"user.overlay.opaque", b"user.fuseoverlayfs.opaque"]:
        layer("xattr: %s" % key.decode(), lambda key=key: long(t(), b"etc", b"5", mode=0o755, xattrs=[(key, b"y")]),
              LOADED, load=LOADED, holds=[b"etc"])
    layer("xattr: trusted.overlay.redirect", lambda: long(
        t(), b"d", b"5", mode=0o755, xattrs=[(b"trusted.overlay.redirect", UP + out)]), LOADED, lacks=[b"d/file"])
    layer("xattr: user.overlay.metacopy and redirect", lambda: long(
        t(), b"f", xattrs=[(b"user.overlay.metacopy", b""), (b"user.overlay.redirect", b"/etc/shadow")]), LOADED)
    layer("xattr: overlay.whiteout", lambda: long(
        t(), b"f", xattrs=[(b"trusted.overlay.whiteout", b""), (b"user.overlay.whiteout", b"")]), LOADED, holds=[b"f"])
    layer("xattr: override_stat of a device", lambda: long(
        t(), b"f", xattrs=[(b"user.containers.override_stat", b"0:0:06777:char-1-3")]), LOADED, holds=[b"f"])
    layer("xattr: override_stat that is none", lambda: long(
        t(), b"f", xattrs=[(b"user.containers.override_stat", b"\xff:::")]), LOADED, holds=[b"f"])
    layer("xattr: security.selinux", lambda: long(t(), b"f", xattrs=[(b"security.selinux", b"evil\0")]), LOADED)
    layer("xattr: damaged capability", lambda: long(t(), b"f", xattrs=[(b"security.capability", b"\xff" * 7)]), None)
    layer("xattr: damaged ACL", lambda: long(t(), b"f", xattrs=[(b"system.posix_acl_access", b"\xff" * 9)]), LOADED)
    layer("xattr: name of 300 bytes", lambda: long(t(), b"f", xattrs=[(b"user." + b"n" * 300, b"")]), None)
    layer("xattr: empty name", lambda: long(t(), b"f", xattrs=[(b"", b"v")]), None)
    layer("xattr: NUL in its name", lambda: long(t(), b"f", xattrs=[(b"user.a\0b", b"v")]), REFUSED)
    layer("xattr: 2 MiB of them", lambda: long(
        t(), b"f", xattrs=[(b"user.%d" % n, b"v" * 60000) for n in range(35)]), REFUSED)

    # PAX tricks.
    layer("PAX: record without a length", lambda: t().pax(b"path=x\n").file(b"f"), REFUSED)
    layer("PAX: length beyond the header", lambda: t().pax(b"999 path=x\n").file(b"f"), REFUSED)
    layer("PAX: length 0", lambda: t().pax(b"0 path=x\n").file(b"f"), REFUSED)
    layer("PAX: length of 60 digits", lambda: t().pax(b"9" * 60 + b" path=x\n").file(b"f"), REFUSED)
    layer("PAX: path twice, the second leads out",
          lambda: t().pax([(b"path", b"ok"), (b"path", UP + out + b"/new")]).file(b"f"), REFUSED)
    layer("PAX: global path", lambda: t().pax([(b"path", UP + out + b"/new")], b"g").file(b"f").file(b"g"), None)
    layer("PAX: size larger than the content", lambda: t().pax([(b"size", b"99999999999")]).file(b"f"), REFUSED)
    layer("PAX: size hides an entry", lambda: t().pax([(b"size", b"1024")]).file(
        b"f", t().file(b"../x").data[:1024], size=0).file(b"g"), LOADED, holds=[b"f", b"g"])
    layer("PAX: size -1", lambda: t().pax([(b"size", b"-1")]).file(b"f"), REFUSED)
    layer("PAX: uid beyond 32 bits", lambda: t().pax([(b"uid", b"4294967296")]).file(b"f"), REFUSED)
    layer("PAX: uid -1", lambda: t().pax([(b"uid", b"-1")]).file(b"f"), REFUSED)
    layer("PAX: mtime out of all bounds", lambda: t().pax([(b"mtime", b"9" * 40)]).file(b"f"), None)
    layer("PAX: mtime that is none", lambda: t().pax([(b"mtime", b"yesterday")]).file(b"f"), REFUSED)
    layer("PAX: 5 MiB", lambda: t().pax([(b"comment", b"c" * (5 << 20))]).file(b"f"), REFUSED)
    layer("PAX: header of 8 GiB that is not there", lambda: t().entry(b"x", b"pax", size=1 << 33), REFUSED)
    layer("PAX: two in a row", lambda: t().pax([(b"path", b"a")]).pax([(b"mtime", b"5")]).file(b"f"), None)
    layer("PAX: at the end, of nothing", lambda: t().file(b"f").pax([(b"path", b"a")]), None)
    layer("PAX: 100,000 records", lambda: t().pax(b"".join(record(b"k%d" % n, b"") for n in range(100_000))).file(
        b"f"), None)
    layer("GNU: long name of 8 GiB that is not there", lambda: t().entry(b"L", b"././@LongLink", size=1 << 33), REFUSED)
    layer("GNU: a hundred long names in a row", lambda: gnu_names(t(), 100), None)

    # Numbers and headers.
    layer("header: checksum", lambda: t().file(b"f").raw(b"x" * BLOCK), REFUSED)
    layer("header: size in letters", lambda: t().entry(b"0", b"f", change=lambda b: b.__setitem__(
        slice(124, 136), b"zzzzzzzzzzz\0")), REFUSED)
    layer("header: negative size", lambda: t().entry(b"0", b"f", size=-512), REFUSED)
    layer("header: size of 2^63", lambda: t().entry(b"0", b"f", size=1 << 63), REFUSED)
    layer("header: size of 2^88", lambda: t().entry(b"0", b"f", size=1 << 88), REFUSED)
    layer("header: size of 1 TiB", lambda: t().entry(b"0", b"f", size=1 << 40), REFUSED)
    layer("header: a directory of 1 TiB", lambda: t().entry(b"5", b"d", size=1 << 40), LOADED)
    layer("header: mtime of 2^90", lambda: t().file(b"f", mtime=1 << 90), None)
    layer("header: mtime before the big bang", lambda: t().file(b"f", mtime=-(1 << 62)), None)
    layer("header: uid of 2^40", lambda: t().file(b"f", uid=1 << 40), REFUSED)
    layer("truncated: within a file", lambda: t().raw(t().file(b"f", b"x" * 2000).data[:1100]), REFUSED)
    layer("truncated: within a header", lambda: t().raw(t().file(b"f").data[:100]), REFUSED)
    layer("empty: nothing but the end", lambda: t(), LOADED)
    layer("junk behind the end", lambda: t().file(b"f").raw(bytes(1024) + b"junk" * 1000), None)
    layer("no tar at all", lambda: t().raw(b"#!/bin/sh\necho evil\n" * 100), REFUSED)

    # Amounts.
    layer("amount: 600 directories deep", lambda: long(t(), b"d/" * 600 + b"f"), REFUSED)
    layer("amount: 500 directories deep", lambda: long(t(), b"d/" * 500 + b"f"), LOADED)
    layer("amount: deep by hard links' targets", lambda: long(t(), b"l", b"1", link=b"d/" * 2000 + b"f"), REFUSED)
    layer("amount: 10,000 entries where 1,000 may be", lambda: numbered(10_000), REFUSED,
          options=["--max-entries", "1000"])
    layer("amount: 10 MB where 1 MB may be", lambda: t().file(b"f", bytes(10_000_000)), REFUSED,
          options=["--max-bytes", "1000000"])
    layer("amount: 10,000 directories by their files' names", lambda: implied(10_000), REFUSED,
          options=["--max-entries", "1000"])
    layer("amount: 100,000 entries", lambda: numbered(100_000), LOADED, full=True)
    layer("amount: 60,000 links to one file", lambda: linked(60_000), LOADED, full=True)
    layer("amount: 70,000 links to one file", lambda: linked(70_000), None, full=True)


def many(tar, count):
    for n in range(count):
        tar.file(b"f", b"%d" % n)
    return tar


def gnu_names(tar, count):
    for n in range(count):
        tar.gnu(b"L", b"name%d" % n)
    return tar.file(b"f")


def numbered(count):
    tar = Tar()
    for n in range(count):
        tar.file(b"d%d/f%d" % (n % 100, n), b"")
    return tar


def implied(count):
    tar = Tar()
    for n in range(0, count, 20):
        tar.file(b"/".join(b"%d" % m for m in range(n, n + 20)) + b"/f", b"")
    return tar


def linked(count):
    tar = Tar().file(b"f", b"")
    for n in range(count):
        tar.hardlink(b"l%d" % n, b"f")
    return tar


def image(**more):
    return Image(Tar().file(b"hello", b"hello").end(), **more)


def changed(**fields):
    made = image()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def archives(canary):
    """Hostile archives of images."""
    good = Tar().file(b"hello", b"hello").end()
    config = image().config_bytes()
    config_name = sha(config)[7:].encode() + b".json"

    def listed(tar, config_path=config_name.decode(), layer_path="0/layer.tar", tags=("hostile:1",)):
        """Docker's archive with this list, and `tar` in front of it."""
        manifest = compact([{"Config": config_path, "RepoTags": tags if tags is None else list(tags),
                             "Layers": [layer_path]}])
        return tar.file(config_name, config).file(b"manifest.json", manifest).end()

    up = UP.decode() + canary.decode().lstrip("/")
    archive("docker: layer's path leads out", listed(Tar(), layer_path=up + "/layer.tar"), REFUSED)
    archive("docker: layer's path is absolute", listed(Tar(), layer_path=canary.decode() + "/layer.tar"), REFUSED)
    archive("docker: configuration's path leads out", listed(Tar().file(b"0/layer.tar", good), up + "/config.json"),
            REFUSED)
    archive("docker: layer.tar is a link out", listed(Tar().symlink(b"0/layer.tar", canary + b"/layer.tar")), REFUSED)
    archive("docker: layer.tar is a relative link out",
            listed(Tar().symlink(b"0/layer.tar", UP + canary[1:] + b"/layer.tar")), REFUSED)
    archive("docker: layer.tar is a hard link out", listed(Tar().hardlink(b"0/layer.tar", canary + b"/layer.tar")),
            REFUSED)
    archive("docker: links in a circle", listed(Tar().symlink(b"0/layer.tar", b"../1/layer.tar").symlink(
        b"1/layer.tar", b"../0/layer.tar")), REFUSED)
    archive("docker: a link inside, as docker writes them", listed(Tar().file(b"1/layer.tar", good).symlink(
        b"0/layer.tar", b"../1/layer.tar")), LOADED)
    archive("docker: a directory is a link out", listed(Tar().symlink(b"0", canary).file(b"0/layer.tar", good)), None)
    archive("docker: layer.tar is a directory", listed(Tar().dir(b"0/layer.tar")), REFUSED)
    archive("docker: layer.tar is a FIFO", listed(Tar().entry(b"6", b"0/layer.tar")), REFUSED)
    archive("docker: layer.tar is a device", listed(Tar().entry(b"3", b"0/layer.tar", device=(1, 5))), REFUSED)
    archive("docker: files that lead out beside it", listed(Tar().file(b"0/layer.tar", good).file(
        UP + canary[1:] + b"/new", b"x").file(b"../../new", b"x").symlink(b"blobs", canary)), LOADED)
    archive("docker: layer.tar twice, the first another", listed(Tar().file(b"0/layer.tar", b"junk" * 300).file(
        b"0/layer.tar", good)), None)
    archive("docker: layer.tar twice, the second another", listed(Tar().file(b"0/layer.tar", good).file(
        b"0/layer.tar", Tar().file(b"evil").end())), REFUSED)
    archive("docker: a name that is none", listed(Tar().file(b"0/layer.tar", good), tags=("../../evil:1",)), REFUSED)
    archive("docker: a name that takes another image's", listed(Tar().file(b"0/layer.tar", good), tags=("base:1 x",)),
            REFUSED)
    archive("docker: no names", listed(Tar().file(b"0/layer.tar", good), tags=None), LOADED)
    archive("docker: a list that is an object", image().docker(manifest=b'{"Config":1}'), REFUSED)
    archive("docker: an empty list", image().docker(manifest=b"[]"), REFUSED)
    archive("docker: no JSON", image().docker(manifest=b"\xff\xfe\0" * 100), REFUSED)
    archive("docker: a list 100,000 deep", image().docker(manifest=b"[" * 100_000), REFUSED)
    archive("docker: a list of 9 MiB", image().docker(manifest=b"[" + b" " * (9 << 20) + b"]"), REFUSED)
    archive("docker: diff ID of another layer", changed(config={"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": [sha(b"other")]}}).docker(), REFUSED)

    # Image layouts whose documents lie.
    for field, value in [("digest", sha(b"other")), ("digest", "sha256:../../../../x"), ("digest", "sha256:" + "A" * 64),
                         ("digest", "md5:" + "0" * 32), ("digest", ""), ("size", 1), ("size", -1), ("size", 1 << 70),
                         ("size", 1 << 62), ("size", "5"), ("mediaType", "text/html"), ("mediaType", "")]:
        def lie(manifest, field=field, value=value):
            manifest["layers"][0][field] = value
            return manifest
        archive("layout: layer's %s %.20s" % (field, value or "empty"), changed(manifest_change=lie).oci(),
                None if field == "mediaType" else REFUSED)

        def lie_config(manifest, field=field, value=value):
            manifest["config"][field] = value
            return manifest
        archive("layout: configuration's %s %.20s" % (field, value or "empty"),
                changed(manifest_change=lie_config).oci(), None if field == "mediaType" else REFUSED)

        def lie_index(index, field=field, value=value):
            index["manifests"][0][field] = value
            return index
        archive("layout: manifest's %s %.20s" % (field, value or "empty"), changed(index_change=lie_index).oci(),
                REFUSED)

    def without(kind):
        return lambda files: [(name, data) for name, data in files if kind not in data]
    archive("layout: layer missing", changed(files_change=without(b"ustar")).oci(), REFUSED)
    archive("layout: configuration missing", changed(files_change=without(b'"diff_ids"')).oci(), REFUSED)

    def flip(nth):
        def change(files):
            name, data = files[nth]
            data = bytearray(data)
            data[len(data) // 2] ^= 1
            return files[:nth] + [(name, bytes(data))] + files[nth + 1:]
        return change

    def cut(nth):
        return lambda files: files[:nth] + [(files[nth][0], files[nth][1][:-7])] + files[nth + 1:]
    for nth, what in [(2, "manifest"), (3, "configuration"), (4, "layer")]:
        archive("layout: a bit of the %s flipped" % what, changed(files_change=flip(nth)).oci(), REFUSED)
        archive("layout: the %s cut" % what, changed(files_change=cut(nth)).oci(), REFUSED)
    archive("layout: fewer diff IDs than layers", changed(config={"rootfs": {"type": "layers", "diff_ids": []}}).oci(),
            REFUSED)
    archive("layout: more diff IDs than layers", changed(config={"rootfs": {
        "type": "layers", "diff_ids": [sha(good), sha(good)]}}).oci(), REFUSED)
    archive("layout: configuration is a list", changed(config=b"[]").oci(), REFUSED)
    archive("layout: configuration is a number", changed(config=b"1e999").oci(), REFUSED)
    archive("layout: configuration's rootfs is null", changed(config=b'{"rootfs":null}').oci(), REFUSED)
    archive("layout: configuration 100,000 deep", changed(
        config=b'{"a":' * 100_000 + b"1" + b"}" * 100_000).oci(), REFUSED)
    archive("layout: configuration of 20 MiB", lambda: changed(config=compact(
        image().config | {"a": "x" * (20 << 20)})).oci(), REFUSED)
    archive("layout: configuration with keys twice", changed(config=image().config_bytes()[:-1] + b',"os":"x"}').oci(),
            REFUSED)
    archive("layout: an index with keys twice",
            changed(index_change=lambda i: compact(i)[:-1] + b',"schemaVersion":2}').oci(), REFUSED)
    archive("docker: a list with keys twice", Tar().file(config_name, config).file(b"0/layer.tar", good).file(
        b"manifest.json", b'[{"Config":"%s","Layers":["0/layer.tar"],"Layers":["0/layer.tar"]}]' % config_name).end(), REFUSED)
    archive("layout: configuration with control characters", changed(config=image().config | {
        "author": "\x1b]0;evil\x07", "config": {"Env": ["A=\u0000"], "Cmd": ["\u202e"]}}).oci(), LOADED)
    archive("layout: created in no year", changed(config=image().config | {"created": "99999-99-99"}).oci(), None)
    archive("layout: a million diff IDs", changed(config={"rootfs": {
        "type": "layers", "diff_ids": [sha(good)] * 100_000}}).oci(), REFUSED)
    archive("layout: names that are none", image().oci(name="../../../evil"), REFUSED)
    archive("layout: an index 100,000 deep", changed(index_change=lambda i: b'{"manifests":' + b"[" * 100_000).oci(),
            REFUSED)
    archive("layout: an index of nothing", changed(index_change=lambda i: {"schemaVersion": 2, "manifests": []}).oci(),
            REFUSED)
    archive("layout: an index of itself", index_of_itself(), REFUSED)
    archive("layout: indexes in indexes", nested(50), REFUSED)
    archive("layout: index.json is a link out", tarred([
        (n, d) for n, d in image().layout() if n != b"index.json"])[:-1024] + Tar().symlink(
            b"index.json", canary + b"/index.json").end(), REFUSED)
    archive("layout: no archive", b"\x1f\x8b" + b"\0" * 500, REFUSED)
    archive("layout: nothing", b"", REFUSED)
    whole = image().oci()
    archive("archive: cut within a blob", whole[:3000], REFUSED)
    archive("archive: cut gzip", gzip.compress(whole)[:-50], REFUSED)
    archive("archive: gzip's checksum", gzip.compress(whole)[:-8] + b"\0" * 8, REFUSED)
    archive("archive: entry's size of 2^63", Tar().entry(b"0", b"index.json", size=1 << 63).end(), REFUSED)
    archive("archive: entry's size of 1 TiB", Tar().entry(b"0", b"index.json", size=1 << 40).end(), REFUSED)
    archive("archive: PAX header of 8 GiB that is not there", Tar().entry(b"x", b"p", size=1 << 33).end(), REFUSED)
    for flag, what in [(b"L", "GNU long name"), (b"K", "GNU long link"), (b"x", "PAX header")]:
        archive("archive: %s of 500 MiB in gzip" % what, lambda flag=flag: long_header(flag, 500), REFUSED)
    archive("archive: 200,000 entries", lambda: gzip.compress(numbered(200_000).end(), 1), REFUSED, full=True)

    # Layers that grow.
    archive("bomb: 1 GiB of zeros in gzip", lambda: bomb(1 << 30), REFUSED, options=["--max-bytes", "50000000"])
    archive("bomb: gzip in many members", changed(layers=[good], kind=Image(good, compressed="gzip").kind, blobs=[
        gzip.compress(good, mtime=0) + gzip.compress(b"", mtime=0) * 20_000]).oci(), None)
    archive("layer: called gzip and plain", changed(kind=Image(good, compressed="gzip").kind).oci(), None)
    archive("layer: called plain and gzip", changed(blobs=[gzip.compress(good)]).oci(), None)
    archive("layer: junk behind gzip", changed(kind=Image(good, compressed="gzip").kind, blobs=[
        gzip.compress(good) + b"junk" * 100]).oci(), None)
    archive("layer: gzip cut", changed(kind=Image(good, compressed="gzip").kind, blobs=[gzip.compress(good)[:-20]]).oci(),
            REFUSED)
    archive("layer: gzip of another content", changed(kind=Image(good, compressed="gzip").kind, blobs=[
        gzip.compress(Tar().file(b"evil").end())]).oci(), REFUSED)
    archive("layer: 300 of them", Image(*[Tar().file(b"f%d" % n).end() for n in range(300)]).oci(), LOADED, full=True)
    archive("layer: the same 20 times", Image(*[good] * 20).oci(), LOADED)


def long_header(flag, megabytes):
    """An archive that begins with an extension header of this length, in little room."""
    squeeze, data = zlib.compressobj(1, zlib.DEFLATED, 31), bytearray()
    for piece in [bytes(Tar().entry(flag, b"././@LongLink", size=megabytes << 20, magic=b"ustar  \0").data),
                  *[b"n" * (1 << 20)] * megabytes, image().oci()]:
        data += squeeze.compress(piece)
    return bytes(data + squeeze.flush())


def index_of_itself():
    def change(index):
        kind = "application/vnd.oci.image.index.v1+json"
        inner = compact({"schemaVersion": 2, "mediaType": kind, "manifests": [
            {"mediaType": kind, "digest": sha(b"self"), "size": 4}]})
        index["manifests"] = [descriptor(kind, inner)]
        return index
    return changed(index_change=change).oci()


def nested(depth):
    """Index in index in index, with right digests."""
    kind = "application/vnd.oci.image.index.v1+json"
    files = image().layout()
    inner = files[2][1]
    inner_kind = "application/vnd.oci.image.manifest.v1+json"
    blobs = []
    for _ in range(depth):
        inner = compact({"schemaVersion": 2, "manifests": [descriptor(inner_kind, inner) | {
            "platform": {"architecture": "amd64", "os": "linux"}}]})
        inner_kind = kind
        blobs.append((b"blobs/sha256/" + sha(inner)[7:].encode(), inner))
    index = compact({"schemaVersion": 2, "manifests": [descriptor(kind, inner)]})
    return tarred([files[0], (b"index.json", index), *files[2:], *blobs])


def bomb(size):
    """An image whose layer is one file of zeros; digests and sizes are right."""
    header = bytes(Tar().entry(b"0", b"zeros", size=size).data)
    digest, squeeze, blob = hashlib.sha256(), zlib.compressobj(9, zlib.DEFLATED, 31), bytearray()
    zeros = bytes(1 << 20)
    for piece in [header, *[zeros] * (size >> 20), bytes(1024)]:
        digest.update(piece)
        blob += squeeze.compress(piece)
    blob += squeeze.flush()
    made = Image(b"", compressed="gzip", blobs=[bytes(blob)])
    made.config["rootfs"]["diff_ids"] = ["sha256:" + digest.hexdigest()]
    return made.oci()


def snapshot(root):
    """Names, types, modes, owners, contents and times of a tree, in short. Of directories, and of the store's index
    and blobs, no times: these are written anew, a blob by equal bytes."""
    digest = hashlib.sha256()
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(files + directories):
            path = os.path.join(directory, name)
            stat = os.lstat(path)
            digest.update(repr((path, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev)).encode())
            if os.path.islink(path):
                digest.update(os.readlink(path))
            elif os.path.isfile(path):
                if name != b"index.json" and b"/blobs/" not in path:
                    digest.update(b"%d" % stat.st_mtime_ns)
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


class Run:
    def __init__(self, plyfs, directory, quick):
        self.plyfs, self.directory, self.quick = plyfs, os.fsencode(os.path.realpath(directory)), quick
        self.store = os.path.join(self.directory, b"store")
        self.canary = os.path.join(self.directory, b"canary")
        self.most = MEGABYTES
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def call(self, *arguments, data=None):
        return subprocess.run([self.plyfs, "--root", self.store, *arguments], input=data, capture_output=True,
                              timeout=SECONDS, check=False)

    def set_up(self):
        os.makedirs(os.path.join(self.canary, b"sub"))
        for name, data in [(b"file", b"canary"), (b"layer.tar", Tar().file(b"hello", b"hello").end()), (b"sub/file", b""),
                           (b"config.json", image().config_bytes()), (b"index.json", b"{}")]:
            with open(os.path.join(self.canary, name), "wb") as file:
                file.write(data)
        os.chmod(os.path.join(self.canary, b"file"), 0o600)
        os.symlink(b"file", os.path.join(self.canary, b"link"))
        self.base = (Tar().dir(b"etc").file(b"etc/passwd", b"root").dir(b"usr").dir(b"usr/lib").symlink(
            b"lib", b"usr/lib").symlink(b"out", self.canary).symlink(b"up", UP + self.canary[1:]).end())
        result = self.call("import", "-", "base:1", data=self.base)
        if result.returncode:
            sys.exit("the base cannot be imported: " + result.stderr.decode(errors="replace"))
        result = self.call("create", "--name", "kept", "base:1")
        if result.returncode:
            sys.exit("no container can be made: " + result.stderr.decode(errors="replace"))
        self.outside = snapshot(self.canary)
        self.beside = sorted(os.listdir(self.directory))
        self.inside = snapshot(self.store)

    def verify(self, expected, result, holds=(), lacks=(), text=None):
        """What is wrong, as a list of sentences."""
        wrong = []
        stderr = result.stderr.decode(errors="replace")
        if result.returncode not in (0, 1) or "panicked" in stderr:
            wrong.append("exit status %d: %s" % (result.returncode, stderr[-400:]))
        if expected == REFUSED and result.returncode == 0:
            wrong.append("it was loaded")
        if expected == LOADED and result.returncode:
            wrong.append("it was refused: " + stderr[-400:])
        if result.returncode and not stderr.strip():
            wrong.append("refused without a word")
        if any(ord(char) < 32 and char != "\n" for char in stderr):
            wrong.append("control characters in the message: %r" % stderr[-200:])
        if text and text not in stderr:
            wrong.append("%r is not in the message: %s" % (text, stderr[-400:]))
        if result.returncode == 0:
            wrong += self.verify_loaded(holds, lacks)
        if snapshot(self.canary) != self.outside:
            wrong.append("THE CANARY HAS CHANGED")
        if sorted(os.listdir(self.directory)) != self.beside:
            wrong.append("THERE ARE NEW FILES BESIDE THE STORE: %s" % sorted(os.listdir(self.directory)))
        if snapshot(self.store) != self.inside:
            wrong.append("the store is not as before")
            self.call("rmi", "-f", "hostile:1")
            self.call("prune", "-f")
            self.inside = snapshot(self.store)
        return wrong

    def verify_loaded(self, holds, lacks):
        wrong = []
        exported = self.call("export", self.loaded)
        if exported.returncode:
            wrong.append("export: " + exported.stderr.decode(errors="replace")[-300:])
        else:
            with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as tar:
                names = {member.name.encode("utf-8", "surrogateescape") for member in tar}
            names = {name.removeprefix(b"./").rstrip(b"/") for name in names}
            wrong += ["%r is not there" % name for name in holds if name not in names]
            wrong += ["%r is there" % name for name in lacks if name in names]
        for command in [["fsck"], ["layers", self.loaded], ["history", self.loaded], ["inspect", self.loaded],
                        ["rmi", "-f", self.loaded]]:
            result = self.call(*command)
            if result.returncode:
                wrong.append("%s: %s" % (command[0], (result.stdout + result.stderr).decode(errors="replace")[-300:]))
        return wrong

    def case(self, title, expected, arguments, data, holds=(), lacks=(), text=None):
        try:
            result = self.call(*arguments, data=data)
            output = result.stdout.decode(errors="replace").strip()
            # `load` prints `Loaded image ID: sha256:…` for an image without a name, `import` the ID alone.
            self.loaded = output.split()[-1] if output else "hostile:1"
            wrong = self.verify(expected, result, holds, lacks, text)
            outcome = LOADED if result.returncode == 0 else REFUSED
            why = "" if result.returncode == 0 else result.stderr.decode(errors="replace").strip().splitlines()[-1]
        except subprocess.TimeoutExpired as slow:
            wrong, outcome, why = ["no end after %d s: %s" % (SECONDS, slow.cmd[3:5])], "", ""
        # This is the largest of all commands until now; a command begins as a copy of this process.
        taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
        if taken > self.most + (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10):
            wrong.append("it took %d MB of memory" % taken)
            self.most = taken
        self.counts["failed" if wrong else "passed"] += 1
        if os.environ.get("VERBOSE"):
            print("%-7s %s: %s %s" % ("FAILED" if wrong else "ok", title, outcome, why[-150:]))
        elif wrong:
            print("FAILED  %s" % title)
        for sentence in wrong:
            print("        %s" % sentence)
        sys.stdout.flush()

    def everything(self, part):
        for case in LAYERS if part in (None, "layers") else []:
            if case["full"] and self.quick:
                continue
            tar = case["tar"]().end()
            self.case("import: " + case["name"], case["outcome"], ["import", *case["options"], "-", "hostile:1"], tar,
                      # What only a base shows is looked for only over one.
                      [] if case["load"] != case["outcome"] else case["holds"], case["lacks"])
            over = Image(self.base, tar)
            self.case("load:   " + case["name"], case["load"], ["load", *case["options"]], over.oci(),
                      case["holds"], case["lacks"])
            self.case("docker: " + case["name"], case["load"], ["load", *case["options"]], over.docker(),
                      case["holds"], case["lacks"])
        for case in ARCHIVES if part in (None, "archives") else []:
            if case["full"] and self.quick:
                continue
            self.case(case["name"], case["outcome"], ["load", *case["options"]],
                      case["data"]() if callable(case["data"]) else case["data"], text=case["text"])


def main():
    plyfs, directory = sys.argv[1:3]
    options = sys.argv[3:]
    run = Run(plyfs, directory, "--quick" in options)
    layers(run.canary)
    archives(run.canary)
    if "--list" in options:
        for case in LAYERS + ARCHIVES:
            print("%-8s %s" % (case["outcome"] or "either", case["name"]))
        return
    run.set_up()
    run.everything(options[options.index("--only") + 1] if "--only" in options else None)
    print("%d layers, %d archives: %d passed, %d failed, %d skipped" % (
        len(LAYERS), len(ARCHIVES), run.counts["passed"], run.counts["failed"], run.counts["skipped"]))
    sys.exit(1 if run.counts["failed"] else 0)


if __name__ == "__main__":
    main()
