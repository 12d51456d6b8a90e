"""The file system that layers, uppers and plain directories lie on."""

import os
import tempfile

from machine import Failure, run

# Of its own size, for what is not given by options: trees of small files, layers, the library, dbench.
MEBIBYTES = 4096
# Left to the page cache and the programs.
SPARE_MEBIBYTES = 2048
INODES_BESIDE = 400_000


class Scratch:
    """An ext4 in memory, mounted at a directory, so that no disk is measured; where that cannot be, the directory itself.
    Its file has no name any more once it is mounted, so that nothing stays behind."""

    def __init__(self, directory, sizes, with_huge, where):
        self.directory = directory
        os.makedirs(directory)
        self.is_mounted = False
        if where == "disk":
            self.title = disk(directory)
            return
        try:
            self.mount(sizes, with_huge)
            self.title = "ext4 in memory"
        except (Failure, OSError) as error:
            self.title = "%s (not ext4 in memory: %s)" % (disk(directory), error)

    def mount(self, sizes, with_huge):
        """Makes the file system. A journal, as on real machines; nothing is initialised later in the background."""
        size = MEBIBYTES + 4 * (sizes["large_mebibytes"] + sizes["mebibytes"])
        if os.getuid():
            raise Failure("needs root")
        if available_mebibytes() < size + SPARE_MEBIBYTES:
            raise Failure("needs %d MiB of free memory" % (size + SPARE_MEBIBYTES))
        inodes = INODES_BESIDE + 3 * (sizes["wide"] + sizes["files"] + sizes["many"]) + with_huge * 2 * sizes["huge"]
        handle, image = tempfile.mkstemp(prefix="plyfs-bench-", dir="/dev/shm")
        try:
            os.truncate(handle, size << 20)
            os.close(handle)
            run(["mkfs.ext4", "-q", "-F", "-m", "0", "-N", str(inodes), "-J", "size=128",
                 "-E", "lazy_itable_init=0,lazy_journal_init=0", image])
            run(["mount", "-t", "ext4", "-o", "loop", image, self.directory])
            self.is_mounted = True
        finally:
            os.unlink(image)

    def close(self):
        """Takes it away, with all that is in it."""
        if self.is_mounted:
            os.chdir("/")
            run(["umount", self.directory])
            self.is_mounted = False


def available_mebibytes():
    """What programs can take without others being pushed out."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable:")) // 1024


def disk(directory):
    """The kind and options of the file system of a directory."""
    return run(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "--target", directory]).strip()
