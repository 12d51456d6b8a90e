"""The rows of the table: what each measures. Rows of one group share a mount, in the order given here."""

import os
import re
import time

from machine import Failure, NotHere, drop_caches, run
from session import CHANGES, MAKES, Mounted
from systems import ROOT

IMPORTS = ("argparse asyncio concurrent.futures configparser csv ctypes dataclasses decimal difflib doctest email.mime.multipart "
           "fractions ftplib http.server imaplib importlib.metadata inspect ipaddress json logging.config multiprocessing.pool "
           "pdb plistlib pydoc shelve smtplib socketserver sqlite3 ssl statistics subprocess tarfile tempfile tracemalloc typing "
           "unittest urllib.request xml.dom.minidom xml.etree.ElementTree xmlrpc.client zipfile").split()


class Group:
    """Rows that are measured together."""

    def __init__(self, run_group, rows, large):
        self.run, self.rows, self.large = run_group, rows, large


GROUPS = []
# Row to what it measures and what one operation of it is.
TITLES = {}


def group(*rows, large=False):
    """Registers a function that measures the given rows, each `(name, title, operation)`."""
    def register(function):
        GROUPS.append(Group(function, [name for name, _, _ in rows], large))
        TITLES.update({name: (title, operation) for name, title, operation in rows})
        return function
    return register


@group(("mount", "mount to ready", "mount"))
def mount(session, system):
    """The mount program from its start until its mount answers; several times, of which each counts."""
    if system.is_plain:
        raise NotHere("there is nothing to mount")
    for _ in range(session.sizes["mounts"]):
        with session.mounted(system, "base") as mounted:
            # All that the daemon has used so far.
            mounted.record("mount", mounted.mount_nanoseconds, 1, {} if mounted.daemon else None)


@group(("walk-cold", "walk with stat, cold", "entry"), ("walk-warm", "walk with stat, warm", "entry"),
       ("ls-warm", "ls -R, warm", "entry"))
def walk(session, system):
    """Everything in the tree."""
    entries = session.tree("base")
    with session.mounted(system, "base") as mounted:
        mounted.measure("walk-cold", "walk", expect=entries, cold=True)
        mounted.measure("walk-warm", "walk", expect=entries)
        mounted.measure("ls-warm", "list", expect=entries)


@group(("stat-cold", "random stat, cold", "file"), ("stat-warm", "random stat, warm", "file"))
def stat(session, system):
    """Each file once, in random order."""
    with session.mounted(system, "base") as mounted:
        mounted.measure("stat-cold", "stat", session.trees.list("base"), expect=session.sizes["files"], cold=True)
        mounted.measure("stat-warm", "stat", session.trees.list("base"), expect=session.sizes["files"])


@group(("stat-cold-2", "random stat, cold, two processes", "file"))
def stat_by_two(session, system):
    """The same by two, each half of the files."""
    with session.mounted(system, "base") as mounted:
        mounted.measure("stat-cold-2", "stat", session.trees.list("base"), 2, expect=session.sizes["files"], cold=True)


@group(("missing-cold", "missing names, cold", "name"), ("missing-warm", "missing names, warm", "name"))
def missing(session, system):
    """A name beside each file that is in no layer; the same ones a second time."""
    with session.mounted(system, "base") as mounted:
        mounted.measure("missing-cold", "missing", session.trees.list("base"), expect=session.sizes["files"], cold=True)
        mounted.measure("missing-warm", "missing", session.trees.list("base"), expect=session.sizes["files"])


@group(("read-cold", "open+read+close of small files, cold", "file"),
       ("read-warm", "open+read+close of small files, warm", "file"))
def read(session, system):
    """Each small file once, in random order; and again."""
    with session.mounted(system, "base") as mounted:
        mounted.measure("read-cold", "read", session.trees.list("base"), expect=session.sizes["files"], cold=True)
        mounted.measure("read-warm", "read", session.trees.list("base"), expect=session.sizes["files"])


@group(("read-cold-2", "open+read+close, cold, two processes", "file"), ("read-warm-2", "open+read+close, warm, two processes", "file"))
def read_by_two(session, system):
    """The same by two, each half of the files."""
    with session.mounted(system, "base") as mounted:
        mounted.measure("read-cold-2", "read", session.trees.list("base"), 2, expect=session.sizes["files"], cold=True)
        mounted.measure("read-warm-2", "read", session.trees.list("base"), 2, expect=session.sizes["files"])


def several_clients(count):
    """Groups of the same by more, each a share of the files."""
    def stat_by_several(session, system):
        with session.mounted(system, "base") as mounted:
            mounted.measure("stat-cold-%d" % count, "stat", session.trees.list("base"), count, expect=session.sizes["files"], cold=True)

    def read_by_several(session, system):
        with session.mounted(system, "base") as mounted:
            mounted.measure("read-cold-%d" % count, "read", session.trees.list("base"), count, expect=session.sizes["files"], cold=True)
    return stat_by_several, read_by_several


for _clients in (4, 8):
    _stat, _read = several_clients(_clients)
    group(("stat-cold-%d" % _clients, "random stat, cold, %d processes" % _clients, "file"))(_stat)
    group(("read-cold-%d" % _clients, "open+read+close, cold, %d processes" % _clients, "file"))(_read)


@group(("sequential-first", "sequential read in 128 KiB, first pass", "call"),
       ("sequential-second", "sequential read in 128 KiB, second pass", "call"))
def sequential(session, system):
    """A large file of the lower."""
    with session.mounted(system, "data") as mounted:
        mounted.measure("sequential-first", "sequential-read", "data", 128 << 10)
        mounted.measure("sequential-second", "sequential-read", "data", 128 << 10)


@group(("mmap-read", "mmap read, first pass", "page"))
def mapped(session, system):
    """A large file of the lower, mapped and read word by word."""
    with session.mounted(system, "data") as mounted:
        mounted.measure("mmap-read", "mapped-read", "data")


@group(("random-read", "random 4 KiB read, first pass", "call"))
def random_read(session, system):
    """A large file of the lower."""
    with session.mounted(system, "data") as mounted:
        mounted.measure("random-read", "random-read", "data", session.sizes["calls"])


@group(("write-4k", "sequential write in 4 KiB", "call"), ("write-1m", "sequential write in 1 MiB", "call"),
       ("append-4k", "append 4 KiB", "call"), ("overwrite-4k", "random 4 KiB overwrite", "call"))
def write(session, system):
    """New files, which are in the upper."""
    size = session.sizes["mebibytes"] << 20
    with session.mounted(system, "empty", MAKES) as mounted:
        for row, *operation in (("write-4k", "write", "small-calls", 4096, size), ("write-1m", "write", "large-calls", 1 << 20, size),
                                ("append-4k", "append-write", "small-calls", 4096, size // 4),
                                ("overwrite-4k", "overwrite", "large-calls", session.sizes["calls"])):
            os.sync()
            mounted.measure(row, *operation)


@group(("create", "create+4 KiB+close", "file"), ("rename", "rename", "file"), ("unlink", "unlink", "file"))
def entries(session, system):
    """In one directory of the upper."""
    count = session.sizes["create"]
    with session.mounted(system, "empty", MAKES) as mounted:
        for row in ("create", "rename", "unlink"):
            mounted.measure(row, row, count, expect=count)


@group(("create-2", "create+4 KiB+close, two processes", "file"))
def create_by_two(session, system):
    """Each in a directory of its own."""
    count = session.sizes["create"]
    with session.mounted(system, "empty", MAKES) as mounted:
        mounted.measure("create-2", "create", count, 2, expect=count)


@group(("untar", "untar", "file"))
def untar(session, system):
    """tar(1) unpacks the tree of small files."""
    session.tree("base")
    with session.mounted(system, "empty", MAKES) as mounted:
        mounted.measure("untar", "run", session.sizes["files"], "tar", "-xf", session.trees.path("base.tar"))


@group(("tar-out", "tar out, cold", "file"))
def tar_out(session, system):
    """tar(1) packs the tree into a pipe."""
    with session.mounted(system, "base") as mounted:
        mounted.measure("tar-out", "run", session.sizes["files"], "tar", "-cf", "-", ".", cold=True)


@group(("rm-rf", "rm -rf of a lower tree, cold", "entry"))
def remove(session, system):
    """rm(1) on everything there is."""
    count = session.tree("base")
    with session.mounted(system, "base", CHANGES) as mounted:
        top = os.listdir(session.trees.path("base"))
        mounted.measure("rm-rf", "run", count, "rm", "-rf", *top, cold=True)
        mounted.verify("rm-rf", "list", expect=0)


def change_all(row, program, *, metacopy):
    """A group that changes the attributes of everything."""
    def change(session, system):
        if metacopy and not system.metacopy:
            raise NotHere("has no metacopy")
        if metacopy and system.name == "kernel" and session.who.user != ROOT:
            raise NotHere("the kernel has no metacopy for ordinary users")
        what = {"chmod": "u+rwx,g-w,o-rwx", "chown": "1:1" if session.who.user == ROOT else "0:0"}[program]
        count = session.tree("base")
        with session.mounted(system, "base", CHANGES, metacopy=metacopy) as mounted:
            top = os.listdir(session.trees.path("base"))
            mounted.measure(row, "run", count, program, "-R", what, *top, cold=True)
            if not system.is_plain:
                try:
                    check_copies(session, mounted, metacopy)
                except Failure as error:
                    session.results.fail(row, system.name, error)
                    raise
    return change


def check_copies(session, mounted, metacopy):
    """Whether the upper has what a change of attributes must leave there: all data, or none with metacopy."""
    with open(session.trees.list("base"), encoding="ascii") as names:
        large = [name.strip() for name in names.readlines()[:FIRST_FILES]]
    sizes = {name: os.stat(os.path.join(session.trees.path("base"), name)).st_size for name in large}
    name = max(large, key=sizes.get)
    try:
        copy = os.stat(os.path.join(mounted.upper, name))
    except FileNotFoundError:
        raise Failure("nothing was copied up") from None
    has_data = copy.st_blocks * 512 >= sizes[name]
    if has_data == metacopy:
        raise Failure("it copied data in spite of metacopy" if metacopy else "it copied no data")


# Among so many one is larger than what metadata alone may take.
FIRST_FILES = 50
for _program in ("chmod", "chown"):
    group(("%s-r" % _program, "%s -R of a lower tree, cold" % _program, "entry"))(
        change_all("%s-r" % _program, _program, metacopy=False))
    group(("%s-r-metacopy" % _program, "%s -R of a lower tree, cold, metacopy" % _program, "entry"))(
        change_all("%s-r-metacopy" % _program, _program, metacopy=True))


@group(("append-small", "append one byte to small lower files", "file"))
def append_small(session, system):
    """So many of the tree."""
    with session.mounted(system, "base", CHANGES) as mounted:
        mounted.measure("append-small", "append", session.trees.list("base-few"), expect=session.sizes["append"])


@group(("append-large", "append one byte to a large lower file", "file"))
def append_large(session, system):
    """One file."""
    with session.mounted(system, "large", CHANGES) as mounted:
        mounted.measure("append-large", "append", session.trees.list("large"), expect=1)


def walk_layers(row, count):
    """A group that walks a stack of layers."""
    def walk_stack(session, system):
        merged, lowers = session.stack(count)
        with Mounted(session, system, lowers, merged, "reads") as mounted:
            mounted.measure(row, "walk", expect=session.trees.made[merged], cold=True)
    return walk_stack


for _count in (60, 300):
    group(("walk-%d" % _count, "walk with stat over %d layers, cold" % _count, "entry"))(
        walk_layers("walk-%d" % _count, _count))


def dbench(row, clients):
    """A group that runs dbench."""
    def run_dbench(session, system):
        with session.mounted(system, "empty", MAKES) as mounted:
            command = ["dbench", "-c", "/usr/share/dbench/client.txt", "-t", str(session.sizes["seconds"]), "-D", mounted.path]
            try:
                text = run(session.who.command([*command, str(clients)]), timeout=session.timeout)
            except FileNotFoundError:
                raise NotHere("dbench is not installed") from None
            found = re.search(r"^Throughput ([0-9.]+) MB/sec", text, re.MULTILINE)
            if not found or float(found.group(1)) <= 0:
                raise Failure("dbench did not get so far: give it more --seconds")
            # The daemon's time would include that of warming up and clearing away.
            mounted.record(row, 1e9 / float(found.group(1)), 1, None)
    return run_dbench


for _clients in (1, 4):
    group(("dbench-%d" % _clients, "dbench, %d client%s" % (_clients, "s" * (_clients > 1)), "megabyte"))(
        dbench("dbench-%d" % _clients, _clients))


@group(("build", "build of a C project", "source"))
def build(session, system):
    """make -j2 and gcc -O1; sources in the lower, objects in the upper."""
    with session.mounted(system, "project", CHANGES) as mounted:
        mounted.measure("build", "run", session.sizes["sources"], "make", "-s", "-j2", cold=True)
        mounted.verify("build", "run", 1, "./out/program")


SHELL_RUNS = 100


@group(("shell", "a shell loop of head -c 20000, warm", "run"))
def shell(session, system):
    """Each run starts a program, which opens some twenty files of the lower, and makes one in the upper."""
    loop = "i=0; while [ $i -lt %d ]; do head -c 20000 /zeros > /tmp/f || exit; i=$((i+1)); done" % SHELL_RUNS
    with session.mounted(system, "shell", CHANGES) as mounted:
        command = ["env", "-i", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "/usr/sbin/chroot", mounted.path, "sh", "-c", loop]
        mounted.measure(None, "run", SHELL_RUNS, *command)
        mounted.measure("shell", "run", SHELL_RUNS, *command)
        if os.path.getsize(os.path.join(mounted.path, "tmp/f")) != 20000:
            session.results.fail("shell", system.name, "the file is not what it must be")


@group(("python", "python3 -c with heavy imports, cold", "run"))
def python(session, system):
    """The library lies in the lower."""
    with session.mounted(system, "python") as mounted:
        script = "import os, %s; assert asyncio.__file__.startswith(os.environ['PYTHONHOME'])" % ", ".join(IMPORTS)
        mounted.measure("python", "run", 1, "env", "PYTHONHOME=" + mounted.path, "/usr/bin/python3", "-S", "-s", "-B", "-c", script,
                        cold=True)


def walk_and_forget(walk_row, memory_row, tree):
    """A group that walks many files, and looks at the daemon before, then, and when the kernel has forgotten them."""
    def walk_many(session, system):
        count = session.tree(tree)
        with session.mounted(system, tree) as mounted:
            start = mounted.daemon.memory()[0] if mounted.daemon else None
            mounted.measure(walk_row, "walk", expect=count, cold=True)
            if not mounted.daemon:
                session.results.fail(memory_row, system.name, "there is no daemon")
                return
            walked, peak = mounted.daemon.memory()
            descriptors = mounted.daemon.descriptors()
            if not drop_caches():
                raise NotHere("only root can make the kernel forget")
            figures = {"start_kib": start, "walked_kib": walked, "peak_kib": peak, "forgotten_kib": settled(mounted.daemon),
                       "bytes_per_inode": (walked - start) * 1024 / count, "descriptors": descriptors, "inodes": count}
            if memory_row in session.rows:
                session.results.add_memory(memory_row, system.name, figures)
    return walk_many


def settled(daemon, patience=30):
    """The daemon's memory, once it has not changed for a second: forgetting comes in many small requests."""
    last, since, end = None, time.monotonic(), time.monotonic() + patience
    while time.monotonic() < min(since + 1, end):
        resident, _ = daemon.memory()
        if resident != last:
            last, since = resident, time.monotonic()
        time.sleep(0.1)
    return last


for _tree, _large in (("many", False), ("huge", True)):
    group(("walk-%s" % _tree, "walk with stat of {%s:,} files, cold" % _tree, "entry"),
          ("memory-%s" % _tree, "memory after walking {%s:,} files" % _tree, "inode"), large=_large)(
        walk_and_forget("walk-%s" % _tree, "memory-%s" % _tree, _tree))


def list_wide(row, tree):
    """A group that lists one directory with many entries."""
    def list_one(session, system):
        # Without the two directories above it.
        count = session.tree(tree) - 2
        with session.mounted(system, tree) as mounted:
            mounted.measure(row, "list", expect=count, cold=True, where="d0/e0")
    return list_one


def delete_wide(row, tree):
    """A group that removes all entries of one directory; of its own, as it takes some systems longer than the timeout."""
    def delete_all(session, system):
        count = session.tree(tree) - 2
        with session.mounted(system, tree, CHANGES) as mounted:
            mounted.measure(row, "empty", expect=count, where="d0/e0")
            mounted.verify(row, "list", expect=0, where="d0/e0")
    return delete_all


for _tree in ("wide-tenth", "wide"):
    _what = "{%s:,} entries" % _tree.replace("-", "_")
    _large = _tree == "wide"
    group(("list-" + _tree, "list a directory of %s, cold" % _what, "entry"), large=_large)(list_wide("list-" + _tree, _tree))
    group(("delete-" + _tree, "delete the %s of a directory" % _what, "entry"), large=_large)(
        delete_wide("delete-" + _tree, _tree))
