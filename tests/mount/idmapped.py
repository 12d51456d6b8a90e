"""A bind mount of DIRECTORY at PLACE that maps the ids FROM… on disk to TO… (mount_setattr(2)).

usage: idmapped.py DIRECTORY PLACE FROM TO COUNT
"""

import ctypes
import os
import struct
import subprocess
import sys

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_IDMAP = 0x00100000

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        sys.exit("system call %d: %s" % (number, os.strerror(ctypes.get_errno())))
    return result


directory, place, first, shown, count = sys.argv[1:]
holder = subprocess.Popen(["unshare", "--user", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdout.readline()
for kind in "uid", "gid":
    with open("/proc/%d/%s_map" % (holder.pid, kind), "w") as file:
        file.write("%s %s %s" % (first, shown, count))
namespace = os.open("/proc/%d/ns/user" % holder.pid, os.O_RDONLY)
tree = call(OPEN_TREE, AT_FDCWD, directory.encode(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
attributes = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace)
call(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, ctypes.c_size_t(len(attributes)))
call(MOVE_MOUNT, tree, b"", AT_FDCWD, place.encode(), MOVE_MOUNT_F_EMPTY_PATH)
holder.stdin.close()
holder.wait()
