#!/usr/bin/env python3
"""Parts of one round of scripts/conformance/power-cut; run by that script.

    power-cut.py make LOWER               the files that are to be copied up
    power-cut.py cut KIND MERGED DISK     have them copied up, and shut the file system at DISK down meanwhile
    power-cut.py check LOWER UPPER        print how many copies there are, and how many lack some of the lower's content

KIND is `attributes` (chmod), `append` (one byte is added) or `data` (the same to files whose attributes were changed
before, and that change is on disk).
"""

import fcntl
import os
import random
import struct
import sys
import threading
import time

FILES = 2000
LARGEST = 32 << 10
# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, and the flag by which nothing is written out first.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
METACOPY = "trusted.overlay.metacopy"


def make(lower):
    numbers = random.Random(20)
    os.mkdir(lower)
    for i in range(FILES):
        with open(os.path.join(lower, "f%d" % i), "wb") as file:
            # No zeros, which is what a lost block reads as.
            file.write(bytes(numbers.choices(range(1, 256), k=numbers.randint(1, LARGEST))))


def cut(kind, merged, disk):
    if kind == "data":
        for name in os.listdir(merged):
            os.chmod(os.path.join(merged, name), 0o600)
        os.sync()
    threading.Thread(target=commit, args=(disk,), daemon=True).start()
    threading.Thread(target=shut_down, args=(disk, random.uniform(0.05, 0.4)), daemon=True).start()
    try:
        for name in sorted(os.listdir(merged)):
            path = os.path.join(merged, name)
            if kind == "attributes":
                os.chmod(path, 0o600)
            else:
                with open(path, "ab") as file:
                    file.write(b"+")
    except OSError:
        return
    sys.exit("all files were changed before the power was cut: more files are needed")


def commit(disk):
    """Has the journal written, again and again."""
    with open(os.path.join(disk, "ticker"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"tick")
                os.fsync(file.fileno())
        except OSError:
            return


def shut_down(disk, after):
    fd = os.open(disk, os.O_RDONLY)
    time.sleep(after)
    fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(fd)


def check(lower, upper):
    found = damaged = 0
    for name in os.listdir(upper):
        path = os.path.join(upper, name)
        if METACOPY in os.listxattr(path):
            continue
        with open(path, "rb") as copy, open(os.path.join(lower, name), "rb") as file:
            wanted = file.read()
            found, damaged = found + 1, damaged + (copy.read(len(wanted)) != wanted)
    print(found, damaged)


if __name__ == "__main__":
    {"make": make, "cut": cut, "check": check}[sys.argv[1]](*sys.argv[2:])
