"""What goes on while a bystander looks on; and what a mount must get through at all."""

import contextlib
import os
import subprocess
import sys
import threading
import time

from union import NOBODY, Peer, Union

QUICK = bool(os.environ.get("QUICK"))
BIG = (256 if QUICK else 1536) << 20
WIDE = 100_000 if QUICK else 300_000
WHITEOUTS = 300_000 if QUICK else 3_000_000
NAMES = 4000
HELD = 1100
LOOKUP_MS, CLIENTS, STATS = 20, 8, 25
SLOWFS = None
JOBS = []


class NotHere(Exception):
    """This machine or system cannot run it."""


def job(function):
    """Registers one: it returns a Waited, or what is wrong, `` for nothing."""
    JOBS.append(function)
    return function


class Waited:
    """Of a bystander, in seconds: its worst wait meanwhile and at rest; how long the job took."""

    def __init__(self, waits, rest, job_seconds):
        self.worst, self.count = max(waits), len(waits)
        self.rest, self.job = rest, job_seconds


class Bystander:
    """A process that stats one name of `names/` after the other, each for the first time."""

    def __init__(self, union):
        self.peer = Peer()
        self.peer.do("import threading\nwaits = []\nstopped = True\nnumber = 0\n"
                     "def look():\n"
                     "    global number\n"
                     "    while not stopped and number < %d:\n"
                     "        start = time.perf_counter()\n"
                     "        try:\n"
                     "            os.stat(%r %% number)\n"
                     "        except OSError:\n"
                     "            break\n"
                     "        waits.append(time.perf_counter() - start)\n"
                     "        number += 1\n"
                     "        time.sleep(0.002)\n"
                     "def begin():\n"
                     "    global stopped, thread\n"
                     "    waits.clear(); stopped = False\n"
                     "    thread = threading.Thread(target=look); thread.start()\n"
                     "def end():\n"
                     "    global stopped\n"
                     "    stopped = True; thread.join(); return waits" % (NAMES, union.path("names/n%d")))
        self.peer.get("len(os.listdir(%r))" % union.path("names"))

    def watch(self, work):
        """What it waited while `work` ran, and how long that took. Some time before and after belongs to it."""
        self.peer.do("begin()")
        start = time.monotonic()
        try:
            work()
        finally:
            took = time.monotonic() - start
            waits = self.peer.get("end()")
        if not waits:
            # It was held up all the time.
            waits = [took]
        return waits, took

    def around(self, work):
        """At rest first, then with the work."""
        rest, _ = self.watch(lambda: time.sleep(0.5))
        waits, took = self.watch(work)
        return Waited(waits, max(rest), took)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.end()


class Place:
    """Where the layers lie that are made once."""

    def __init__(self, directory):
        self.directory, self.made, self.mounts = directory, {}, []

    def layer(self, name, lay):
        """A layer, made when it is first wanted."""
        path = os.path.join(self.directory, "layer-" + name)
        if name not in self.made:
            os.makedirs(path)
            self.made[name] = path
            lay(path)
        return path

    def memory(self, name):
        """A file system in memory."""
        path = os.path.join(self.directory, "memory-" + name)
        os.makedirs(path)
        if subprocess.call(["mount", "-t", "tmpfs", "-o", "nr_inodes=0,size=90%", "tmpfs", path]):
            raise NotHere("no tmpfs")
        self.mounts.append(path)
        return path

    def union(self, system, lower, options="", lowers=(), descriptors=None):
        """A fresh one over the layer, and others below; the daemon may have so many descriptors."""
        return Union(system, os.path.join(self.directory, "union"), lambda _: None, options, lower=":".join([lower, *lowers]),
                     descriptors=descriptors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path in reversed(self.mounts):
            subprocess.call(["umount", path])


def lay_names(path, count=NAMES):
    """What the bystander looks at."""
    os.makedirs(os.path.join(path, "names"))
    for n in range(count):
        os.close(os.open(os.path.join(path, "names/n%d" % n), os.O_CREAT | os.O_WRONLY, 0o644))


def lay_big(path):
    """A large file with two names, and the bystander's."""
    lay_names(path)
    with open(os.path.join(path, "big"), "wb") as file:
        for n in range(BIG >> 20):
            file.write(b"%08d" % n * (1 << 17))
    os.link(os.path.join(path, "big"), os.path.join(path, "big-2"))
    os.sync()


# ---- a large file of the lower is copied up ----------------------------------------------------

def copies(name, work):
    """A job on a fresh mount over the layer with the large file."""
    def play(system, place):
        lower = place.layer("big", lay_big)
        with place.union(system, lower, "index=on") as union, Bystander(union) as bystander:
            return bystander.around(lambda: work(union.path("big")))
    play.__name__ = "while_a_large_file_is_" + name
    return job(play)


def open_by_two(path):
    """One has it open and reads, one opens it for writing, and meanwhile others open it for reading."""
    stop = threading.Event()

    def read():
        with open(path, "rb", buffering=0) as file:
            while not stop.is_set():
                if not file.read(1 << 20):
                    file.seek(0)
                time.sleep(0.001)

    def open_again():
        while not stop.is_set():
            time.sleep(0.02)
            os.close(os.open(path, os.O_RDONLY))
    others = [threading.Thread(target=work) for work in (read, open_again, open_again)]
    for other in others:
        other.start()
    try:
        fd = os.open(path, os.O_RDWR)
        os.write(fd, b"x")
        os.close(fd)
    finally:
        stop.set()
        for other in others:
            other.join()


copies("renamed", lambda path: os.rename(path, path + "-moved"))
copies("given_an_attribute", lambda path: os.setxattr(path, "user.a", b"b"))
copies("given_another_mode", lambda path: os.chmod(path, 0o600))
copies("opened_for_writing_and_read", open_by_two)
copies("truncated_to_half", lambda path: os.truncate(path, BIG // 2))
copies("removed_by_one_of_its_names", lambda path: os.unlink(path + "-2"))


# ---- a slow lower ------------------------------------------------------------------------------

class SlowLayer:
    """Served by slowfs."""

    def __init__(self, place, directories, files):
        self.path = os.path.join(place.directory, "slow")
        os.makedirs(self.path, exist_ok=True)
        self.process = subprocess.Popen([SLOWFS, self.path, str(LOOKUP_MS), str(directories), str(files)])
        for _ in range(200):
            if os.path.ismount(self.path):
                return
            time.sleep(0.02)
        raise NotHere("slowfs did not mount")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(50):
            if subprocess.call(["umount", self.path], stderr=subprocess.DEVNULL) == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.call(["umount", "-l", self.path])
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def stat_by_clients(union):
    """Each client in a directory of its own. How long they all took."""
    code = ("import os, sys\n"
            "for n in range(%d):\n"
            "    os.stat(os.path.join(sys.argv[1], 'f%%d' %% n))\n" % STATS)
    clients = [subprocess.Popen([sys.executable, "-S", "-c", code, union.path("d%d" % n)]) for n in range(CLIENTS)]
    statuses = [client.wait() for client in clients]
    assert not any(statuses), "a client failed"


def over_slow(system, place, measure):
    fast = place.layer("names", lay_names)
    with SlowLayer(place, CLIENTS, STATS) as slow, place.union(system, fast, lowers=[slow.path]) as union:
        with Bystander(union) as bystander:
            return measure(union, bystander)


@job
def while_others_wait_for_a_slow_lower(system, place):
    """A bystander in another layer. A lookup of the slow one is the job that it is held against."""
    waited = over_slow(system, place, lambda union, bystander: bystander.around(lambda: stat_by_clients(union)))
    # Not the share of all that the clients do, but of one of their lookups, and a half of it.
    waited.job = LOOKUP_MS / 1000 * 3
    return waited


@job
def clients_of_a_slow_lower_wait_side_by_side(system, place):
    """Eight at once may take three times what one takes alone, not eight times."""
    def measure(union, _):
        code = "import os, sys\nfor n in range(%d):\n    os.stat(os.path.join(sys.argv[1], 'f%%d' %% n))\n" % STATS
        start = time.monotonic()
        subprocess.run([sys.executable, "-S", "-c", code, union.path("d0")], check=True)
        alone = time.monotonic() - start
        return alone
    alone = over_slow(system, place, measure)
    took = over_slow(system, place, lambda union, bystander: bystander.around(lambda: stat_by_clients(union))).job
    return "" if took <= 3 * alone else "one client takes %.2f s, eight at once %.2f s" % (alone, took)


# ---- what a mount must get through -------------------------------------------------------------

def lay_held(path):
    os.makedirs(os.path.join(path, "held"))
    for n in range(HELD):
        with open(os.path.join(path, "held/f%d" % n), "w", encoding="ascii") as file:
            file.write("x")
        os.chmod(os.path.join(path, "held/f%d" % n), 0o666)
    lay_names(path, 50)


def hold_many(system, place, flags):
    """An ordinary user opens more files than the daemon's 1,024 descriptors, as many as that user gets; root works on."""
    lower = place.layer("held", lay_held)
    with place.union(system, lower, "" if system.is_kernel else "allow_other", descriptors=1024) as union:
        with Peer(NOBODY) as user:
            user.do("held = []\ndef hold(n):\n"
                    "    try:\n"
                    "        held.append(os.open(%r %% n, os.%s))\n"
                    "    except OSError:\n"
                    "        pass" % (union.path("held/f%d"), flags))
            opened = user.get("[hold(n) for n in range(%d)] and len(held)" % HELD)
            wrong = [] if opened >= 900 else ["the user could open %d files" % opened]
            for n in range(30):
                wrong += try_all(union, n)
            return "; ".join(sorted(set(wrong)))


def try_all(union, n):
    """What root does, and what failed."""
    wrong = []
    path = union.path("names/n%d" % n)
    for what, action in (("stat", lambda: os.stat(path)), ("open", lambda: os.close(os.open(path, os.O_RDONLY))),
                         ("open for writing", lambda: os.close(os.open(path, os.O_RDWR))),
                         ("create", lambda: os.close(os.open(path + "-new", os.O_CREAT | os.O_RDWR))),
                         ("list", lambda: os.listdir(union.path("names"))), ("rename", lambda: os.rename(path, path + "-moved")),
                         ("mkdir", lambda: os.mkdir(path + "-dir"))):
        try:
            action()
        except OSError as error:
            wrong.append("%s: %s" % (what, error.strerror))
    return wrong


@job
def a_user_holds_many_files_for_reading(system, place):
    return hold_many(system, place, "O_RDONLY")


@job
def a_user_holds_many_files_for_writing(system, place):
    return hold_many(system, place, "O_RDWR")


def lay_whiteouts(path):
    """A directory whose names are whiteouts all but one."""
    os.makedirs(os.path.join(path, "d"))
    first = os.path.join(path, "d", "w0")
    os.mknod(first, 0o020000, os.makedev(0, 0))
    for n in range(1, WHITEOUTS):
        os.link(first, os.path.join(path, "d", "w%d" % n))
    with open(os.path.join(path, "d", "here"), "w", encoding="ascii") as file:
        file.write("x")


def list_whiteouts(system, place, below):
    """Read-only: two layers, no upper. The directory is in the upper one of them, and in `below` if that is so."""
    if "whiteouts" not in place.made:
        memory = place.memory("whiteouts")
        for name in ("top", "merged/d", "alone"):
            os.makedirs(os.path.join(memory, name))
        lay_whiteouts(os.path.join(memory, "top"))
        with open(os.path.join(memory, "merged/d/w7"), "w", encoding="ascii") as file:
            file.write("hidden")
        place.made["whiteouts"] = memory
    memory = place.made["whiteouts"]
    merged = os.path.join(place.directory, "read-only")
    os.makedirs(merged, exist_ok=True)
    options = "ro,lowerdir=%s/top:%s/%s%s" % (memory, memory, below, system.options(""))
    command = ["mount", "-t", "overlay", "overlay", "-o", options, merged] if system.is_kernel else \
        [system.program, "-o", options, merged]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    try:
        found = subprocess.run(["ls", os.path.join(merged, "d")], capture_output=True, text=True, check=False, timeout=600)
        again = subprocess.run(["stat", "-c", "%s", os.path.join(merged, "d/here")], capture_output=True, text=True, check=False)
        problems = (found.stderr + again.stderr).strip().replace(merged, "")
        return problems or ("" if found.stdout == "here\n" else "ls shows %d names" % len(found.stdout.split()))
    finally:
        time.sleep(0.2)
        subprocess.call(["umount", "-l", merged])


@job
def a_merged_directory_of_whiteouts_is_listed(system, place):
    return list_whiteouts(system, place, "merged")


@job
def a_directory_of_whiteouts_in_one_layer_is_listed(system, place):
    """The kernel asks the layer itself there, and shows what it finds."""
    if system.is_kernel:
        raise NotHere("not compared: the kernel shows whiteouts there")
    return list_whiteouts(system, place, "alone")


def lay_redirects(path):
    """12 layers of 8 directories, one in the other, each of which says that it is the last one."""
    full = "/d" * 8
    for layer in range(12):
        inner = os.path.join(path, "l%d" % layer)
        for _ in range(8):
            inner = os.path.join(inner, "d")
            os.makedirs(inner)
            os.setxattr(inner, "trusted.overlay.redirect", full.encode())
        lay_names(os.path.join(path, "l%d" % layer), NAMES if layer == 0 else 1)


@job
def while_redirects_lead_around(system, place):
    """One stat of the innermost; it may be refused. It must end within 20,000 times what a plain stat takes."""
    layers = place.layer("redirects", lay_redirects)
    lowers = [os.path.join(layers, "l%d" % n) for n in range(12)]
    with place.union(system, lowers[0], "redirect_dir=on", lowers[1:]) as union, Bystander(union) as bystander:
        rest, _ = bystander.watch(lambda: time.sleep(0.5))
        limit = max(20_000 * sorted(rest)[len(rest) // 2], 1000 * max(rest))
        ended = []

        def stat_one():
            client = subprocess.Popen(["stat", "-c", "%F", union.path("d/" * 8)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                client.wait(limit)
                ended.append(True)
            except subprocess.TimeoutExpired:
                client.kill()
                for pid in union.daemons:
                    # It answers nobody any more; what waits for it ends with it.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
                client.wait()
        try:
            waits, took = bystander.watch(stat_one)
        except AssertionError:
            waits, took = [limit], limit
        if not ended:
            return "one stat had not ended after %.1f s, when the daemon was killed" % limit
        return Waited(waits, max(rest), took)


def lay_damaged(path):
    for name in ("parent/good", "parent/bad/inner", "parent/other"):
        os.makedirs(os.path.join(path, name))
    with open(os.path.join(path, "parent/bad/inner/file"), "w", encoding="ascii") as file:
        file.write("x")
    os.setxattr(os.path.join(path, "parent/bad"), "trusted.overlay.redirect", b"../..//x\xff/")


@job
def a_damaged_redirect_can_be_deleted(system, place):
    """In the lower; its parent is listed, and it goes."""
    if system.is_kernel:
        raise NotHere("not compared: the kernel refuses such a directory")
    lower = place.layer("damaged", lay_damaged)
    problems = []
    with place.union(system, lower, "redirect_dir=on") as union:
        for command in (["ls", "-l", union.path("parent")], ["rm", "-rf", union.path("parent/bad")], ["rm", "-rf", union.path("parent")]):
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.returncode:
                problems.append("%s: %s" % (" ".join(command[:2]), found.stderr.strip().replace(union.merged, "")[:150]))
            elif command[0] == "ls" and "bad" not in found.stdout:
                problems.append("ls does not show it")
        if os.path.lexists(union.path("parent")):
            problems.append("it is still there")
    return "; ".join(problems)


def lay_wide(path):
    """Half of the names in each of two layers."""
    for layer in range(2):
        top = os.path.join(path, "l%d" % layer)
        os.makedirs(os.path.join(top, "wide"))
        for n in range(layer, WIDE, 2):
            os.close(os.open(os.path.join(top, "wide", "f%d" % n), os.O_CREAT | os.O_WRONLY, 0o644))
    lay_names(os.path.join(path, "l0"))


@job
def while_a_wide_directory_is_first_looked_into(system, place):
    layers = place.layer("wide", lay_wide)
    with place.union(system, os.path.join(layers, "l0"), lowers=[os.path.join(layers, "l1")]) as union:
        with Bystander(union) as bystander:
            return bystander.around(lambda: (time.sleep(0.05), os.stat(union.path("wide/f1"))))
