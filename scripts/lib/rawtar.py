"""Writes tars to the letter, wrong ones too, and the image archives around them. Everything is bytes."""

import gzip
import hashlib
import json

BLOCK = 512


def octal(number, width):
    return b"%0*o\0" % (width - 1, number)


def base256(number, width):
    return ((number & ((1 << (8 * width)) - 1)) | (1 << (8 * width - 1))).to_bytes(width, "big")


def seal(block):
    """The checksum of a header."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


def record(key, value):
    """One PAX record."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length).encode() + body) != length:
        length = len(str(length).encode() + body)
    return str(length).encode() + body


class Tar:
    """A tar being written. Every method returns the tar, so that they can be chained."""

    def __init__(self):
        self.data = bytearray()

    def entry(self, flag, name, link=b"", data=b"", mode=0o644, uid=0, gid=0, mtime=100, size=None, device=(0, 0),
              prefix=b"", magic=b"ustar\x0000", change=None):
        block = bytearray(BLOCK)
        block[0:100] = name[:100].ljust(100, b"\0")
        block[100:108] = octal(mode, 8)
        block[108:116] = octal(uid, 8) if 0 <= uid < 8**7 else base256(uid, 8)
        block[116:124] = octal(gid, 8) if 0 <= gid < 8**7 else base256(gid, 8)
        length = len(data) if size is None else size
        block[124:136] = octal(length, 12) if 0 <= length < 8**11 else base256(length, 12)
        block[136:148] = octal(mtime, 12) if 0 <= mtime < 8**11 else base256(mtime, 12)
        block[156:157] = flag
        block[157:257] = link[:100].ljust(100, b"\0")
        block[257:265] = magic
        block[329:337] = octal(device[0], 8) if 0 <= device[0] < 8**7 else base256(device[0], 8)
        block[337:345] = octal(device[1], 8) if 0 <= device[1] < 8**7 else base256(device[1], 8)
        block[345:500] = prefix[:155].ljust(155, b"\0")
        if change:
            change(block)
        self.data += seal(block)
        return self.content(data)

    def content(self, data):
        self.data += data
        self.data += bytes(-len(data) % BLOCK)
        return self

    def file(self, name, data=b"x", **more):
        return self.entry(b"0", name, data=data, **more)

    def dir(self, name, **more):
        return self.entry(b"5", name, mode=more.pop("mode", 0o755), **more)

    def symlink(self, name, link, **more):
        return self.entry(b"2", name, link=link, mode=0o777, **more)

    def hardlink(self, name, link, **more):
        return self.entry(b"1", name, link=link, **more)

    def pax(self, records, flag=b"x"):
        """An extension header; `records` is a list of (key, value), or bytes to the letter."""
        if not isinstance(records, bytes):
            records = b"".join(record(key, value) for key, value in records)
        return self.entry(flag, b"pax", data=records)

    def gnu(self, flag, text):
        """A GNU long name (L) or link (K)."""
        return self.entry(flag, b"././@LongLink", data=text + b"\0", magic=b"ustar  \0")

    def raw(self, data):
        self.data += data
        return self

    def end(self):
        return bytes(self.data) + bytes(2 * BLOCK)


def long(tar, name, flag=b"0", link=b"", xattrs=(), pax=(), **more):
    """An entry whatever the length of its name, with extended attributes."""
    records = list(pax)
    if len(name) > 100 or any(byte > 126 for byte in name):
        records.append((b"path", name))
    if len(link) > 100 or any(byte > 126 for byte in link):
        records.append((b"linkpath", link))
    records += [(b"SCHILY.xattr." + key, value) for key, value in xattrs]
    if records:
        tar.pax(records)
    return tar.entry(flag, name, link=link, **more)


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


KINDS = {
    "": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


def descriptor(kind, data):
    return {"mediaType": kind, "digest": sha(data), "size": len(data)}


class Image:
    """An image whose parts can be changed before they are written."""

    def __init__(self, *layers, compressed="", blobs=None):
        self.layers = list(layers)
        squeeze = (lambda tar: gzip.compress(tar, 1, mtime=0)) if compressed == "gzip" else (lambda tar: tar)
        self.blobs = blobs or [squeeze(tar) for tar in self.layers]
        self.kind = KINDS[compressed]
        self.config = {"architecture": "amd64", "os": "linux", "config": {},
                       "rootfs": {"type": "layers", "diff_ids": [sha(tar) for tar in self.layers]}}
        self.config_kind = "application/vnd.oci.image.config.v1+json"
        self.manifest_kind = "application/vnd.oci.image.manifest.v1+json"
        self.index_more = {}
        self.manifest_change = lambda manifest: manifest
        self.index_change = lambda index: index
        self.files_change = lambda files: files

    def config_bytes(self):
        return self.config if isinstance(self.config, bytes) else compact(self.config)

    def layout(self, name="hostile:1"):
        """The files of an OCI image layout."""
        config = self.config_bytes()
        manifest = {"schemaVersion": 2, "mediaType": self.manifest_kind,
                    "config": descriptor(self.config_kind, config),
                    "layers": [descriptor(self.kind, blob) for blob in self.blobs]}
        manifest = self.manifest_change(manifest)
        manifest = manifest if isinstance(manifest, bytes) else compact(manifest)
        entry = descriptor(self.manifest_kind, manifest) | self.index_more
        if name:
            entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        index = self.index_change({"schemaVersion": 2, "manifests": [entry]})
        index = index if isinstance(index, bytes) else compact(index)
        files = [(b"oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), (b"index.json", index)]
        for blob in [manifest, config, *self.blobs]:
            files.append((b"blobs/sha256/" + sha(blob)[7:].encode(), blob))
        return self.files_change(files)

    def oci(self, name="hostile:1"):
        return tarred(self.layout(name))

    def docker(self, name="hostile:1", manifest=None):
        """Docker's archive."""
        config = self.config_bytes()
        config_path = sha(config)[7:] + ".json"
        paths = ["%d/layer.tar" % n for n in range(len(self.blobs))]
        listed = manifest if manifest is not None else [
            {"Config": config_path, "RepoTags": [name] if name else None, "Layers": paths}]
        listed = listed if isinstance(listed, bytes) else compact(listed)
        files = [(config_path.encode(), config)]
        files += [(path.encode(), blob) for path, blob in zip(paths, self.blobs)]
        return tarred(self.files_change(files + [(b"manifest.json", listed)]))


def tarred(files):
    tar = Tar()
    for name, data in files:
        tar.file(name, data)
    return tar.end()
