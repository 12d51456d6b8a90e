"""A file stays one file for everybody who has it open, whatever is copied up meanwhile."""

import os
import re
import subprocess
import threading
import time

from registry import check
from union import NOBODY, Peer, Union, file, mode_of, peers

QUICK = bool(os.environ.get("QUICK"))
BIG = (20 if QUICK else 200) << 20


def with_lock(lower):
    file(lower, "lock", "x\n", 0o666)


# ---- locks -------------------------------------------------------------------------------------

@check("EAGAIN")
def flock_over_copy_up(system, directory):
    """One holds it by a descriptor for reading; the other opens for writing, which copies up."""
    with Union(system, directory, with_lock) as union, peers(0, 0) as (one, other):
        one.do("fd = os.open(%r, os.O_RDONLY); fcntl.flock(fd, fcntl.LOCK_EX)" % union.path("lock"))
        other.do("fd = os.open(%r, os.O_RDWR); os.write(fd, b'y')" % union.path("lock"))
        return other.said("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")


@check("EAGAIN")
def flock_by_a_shell(system, directory):
    """As scripts do it: `exec 9<>lock`, and nothing is written."""
    with Union(system, directory, with_lock) as union:
        script = "exec 8<lock; flock 8; sh -c 'exec 8<&-; exec 9<>lock; flock -n 9 && echo granted || echo EAGAIN'"
        return subprocess.run(["sh", "-c", script], cwd=union.merged, check=True, capture_output=True, text=True).stdout.strip()


@check(["EAGAIN", "EAGAIN"])
def posix_locks_over_copy_up(system, directory):
    """A reader's lock against a writer's, and the other way round."""
    with Union(system, directory, with_lock) as union, peers(0, 0) as (one, other):
        one.do("fd = os.open(%r, os.O_RDONLY); fcntl.lockf(fd, fcntl.LOCK_SH)" % union.path("lock"))
        other.do("fd = os.open(%r, os.O_RDWR); os.write(fd, b'y')" % union.path("lock"))
        first = other.said("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
        one.do("fcntl.lockf(fd, fcntl.LOCK_UN)")
        other.do("fcntl.lockf(fd, fcntl.LOCK_EX)")
        return [first, one.said("fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)")]


@check(["EAGAIN", "EAGAIN"])
def open_file_description_locks_over_copy_up(system, directory):
    """The same with locks of descriptors."""
    with Union(system, directory, with_lock) as union, peers(0, 0) as (one, other):
        one.do("fd = os.open(%r, os.O_RDONLY); ofd(fd, fcntl.F_RDLCK)" % union.path("lock"))
        other.do("fd = os.open(%r, os.O_RDWR); os.write(fd, b'y')" % union.path("lock"))
        first = other.said("ofd(fd, fcntl.F_WRLCK)")
        one.do("ofd(fd, fcntl.F_UNLCK)")
        other.do("ofd(fd, fcntl.F_WRLCK)")
        return [first, one.said("ofd(fd, fcntl.F_RDLCK)")]


def with_database(journal):
    """A layer with one."""
    def lay(lower):
        import sqlite3
        connection = sqlite3.connect(os.path.join(lower, "db"), isolation_level=None)
        connection.execute("PRAGMA journal_mode=" + journal)
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.close()
    return lay


@check(["database is locked", "works", 2])
def sqlite_writer_under_a_readers_lock(system, directory):
    """Who reads holds a SHARED lock; a commit has to wait for it."""
    with Union(system, directory, with_database("delete")) as union, peers(0, 0) as (reader, writer):
        reader.do("db = sqlite3.connect('file:%s?mode=ro', uri=True, timeout=0, isolation_level=None)" % union.path("db"))
        reader.do("db.execute('BEGIN'); db.execute('SELECT count(*) FROM t').fetchone()")
        writer.do("db = sqlite3.connect(%r, timeout=0, isolation_level=None)" % union.path("db"))
        writer.do("db.execute('BEGIN IMMEDIATE'); db.execute('INSERT INTO t VALUES (2)')")
        first = writer.said("db.execute('COMMIT') and None")
        reader.do("db.execute('COMMIT')")
        second = writer.said("db.execute('COMMIT') and None")
        return [first, second, reader.get("db.execute('SELECT count(*) FROM t').fetchone()[0]")]


def sees_commits(system, directory, journal):
    """The counts that a read-only connection finds, which was there before the first write."""
    with Union(system, directory, with_database(journal)) as union, peers(0, 0) as (reader, writer):
        reader.do("db = sqlite3.connect('file:%s?mode=ro', uri=True, timeout=5, isolation_level=None)" % union.path("db"))
        count = "db.execute('SELECT count(*) FROM t').fetchone()[0]"
        found = [reader.get(count)]
        writer.do("db = sqlite3.connect(%r, timeout=5, isolation_level=None)" % union.path("db"))
        for n in range(3):
            writer.do("db.execute('INSERT INTO t VALUES (%d)')" % n)
            # Where there is a log, what was committed goes into the file itself.
            writer.do("db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()")
            found.append(reader.get(count))
        writer.do("db.close()")
        return found + [reader.get(count)]


@check([1, 2, 3, 4, 4])
def sqlite_reader_sees_commits_of_a_journal(system, directory):
    return sees_commits(system, directory, "delete")


@check([1, 2, 3, 4, 4])
def sqlite_reader_sees_commits_of_a_log(system, directory):
    return sees_commits(system, directory, "wal")


# ---- content -----------------------------------------------------------------------------------

def with_log(lower):
    file(lower, "log", "one\n", 0o666)


@check(["one\n", "two\n", "three\n"])
def a_log_is_followed_by_reading(system, directory):
    """`tail -f` without inotify."""
    with Union(system, directory, with_log) as union, peers(0, 0) as (reader, writer):
        reader.do("fd = os.open(%r, os.O_RDONLY)" % union.path("log"))
        found = [reader.get("os.read(fd, 100).decode()")]
        for word in ("two", "three"):
            writer.do("open(%r, 'a').write('%s\\n')" % (union.path("log"), word))
            found.append(reader.get("os.read(fd, 100).decode()"))
        return found


@check(["modified", "two\n", 8])
def a_log_is_followed_by_inotify(system, directory):
    """The watch is from before the copy-up."""
    with Union(system, directory, with_log) as union, peers(0, 0) as (reader, writer):
        reader.do("fd = os.open(%r, os.O_RDONLY); os.read(fd, 100)" % union.path("log"))
        reader.do("libc = ctypes.CDLL(None); watch = libc.inotify_init()")
        reader.do("assert libc.inotify_add_watch(watch, %r, 2) > 0" % union.path("log").encode())
        writer.do("open(%r, 'a').write('two\\n')" % union.path("log"))
        event = reader.get("'modified' if select.select([watch], [], [], 3)[0] else 'no event'")
        return [event, reader.get("os.read(fd, 100).decode()"), reader.get("os.fstat(fd).st_size")]


@check(["one\ntwo\n"])
def a_log_is_followed_by_tail(system, directory):
    """The program itself."""
    with Union(system, directory, with_log) as union, Peer() as writer:
        tail = subprocess.Popen(["tail", "-s", "0.1", "-f", union.path("log")], stdout=subprocess.PIPE)
        text = b""
        try:
            os.set_blocking(tail.stdout.fileno(), False)
            for step in range(40):
                text += tail.stdout.read() or b""
                if step == 5:
                    writer.do("open(%r, 'a').write('two\\n')" % union.path("log"))
                if text.endswith(b"two\n"):
                    break
                time.sleep(0.1)
        finally:
            tail.kill()
            tail.wait()
            tail.stdout.close()
        return [text.decode()]


@check(["old\n", "new\n", "new\n", "new\n"])
def a_mapping_from_before_the_copy_up_sees_what_is_written(system, directory):
    """On io=cached and on the kernel's page cache of the upper."""
    if system.is_kernel:
        return "skipped: a mapping on the kernel's overlayfs is of the lower's file (see scripts/conformance/sqlite)"
    with Union(system, directory, lambda lower: file(lower, "f", "old\n")) as union, peers(0, 0) as (reader, writer):
        reader.do("fd = os.open(%r, os.O_RDONLY); m = mmap.mmap(fd, 4, mmap.MAP_SHARED, mmap.PROT_READ)" % union.path("f"))
        found = [reader.get("m[:4].decode()")]
        writer.do("fd = os.open(%r, os.O_RDWR); os.pwrite(fd, b'new\\n', 0)" % union.path("f"))
        found += [reader.get("m[:4].decode()"), reader.get("os.pread(fd, 4, 0).decode()")]
        with open(union.path("f"), encoding="utf-8") as again:
            return found + [again.read()]


def with_big(lower):
    with open(os.path.join(lower, "big"), "wb") as made:
        piece = bytes(range(256)) * 4096
        for _ in range(BIG // len(piece)):
            made.write(piece)


@check({"during": "10 bytes", "after": "10 bytes, 10 by fstat", "before": "10 bytes", "wrong meanwhile": []})
def a_big_file_is_truncated(system, directory):
    """Readers that open before, while and after a large file of a lower is truncated to 10 bytes."""
    with Union(system, directory, with_big) as union:
        path, stop, held, wrong = union.path("big"), threading.Event(), [], []
        before = os.open(path, os.O_RDONLY)

        def open_and_read():
            while not stop.is_set():
                fd = os.open(path, os.O_RDONLY)
                size, length = os.fstat(fd).st_size, len(os.pread(fd, 1 << 20, 0))
                # It may shrink between the two, or while it is read; it does not grow.
                if size not in (BIG, 10) or length > 1 << 20 or length < 10 or (size == 10 and length != 10):
                    wrong.append((size, length))
                if len(held) < 50:
                    held.append(fd)
                else:
                    os.close(fd)
        thread = threading.Thread(target=open_and_read)
        thread.start()
        time.sleep(0.02)
        subprocess.run(["truncate", "-s", "10", path], check=True)
        stop.set()
        thread.join()
        after = os.open(path, os.O_RDONLY)
        lengths = {len(os.pread(fd, 1 << 20, 0)) for fd in held}
        found = {"during": "%s bytes" % "/".join(map(str, sorted(lengths))),
                 "after": "%d bytes, %d by fstat" % (len(os.pread(after, 1 << 20, 0)), os.fstat(after).st_size),
                 "before": "%d bytes" % len(os.pread(before, 1 << 20, 0)), "wrong meanwhile": wrong[:2]}
        for fd in [before, after, *held]:
            os.close(fd)
        return found


# ---- attributes --------------------------------------------------------------------------------

@check({"fchmod": "works", "futimens": "works", "fchown": "works", "fsetxattr": "works",
        "by the descriptor": ["640", 7, 5, "v"], "by the name": ["640", 7, 5, "v"]})
def attributes_by_a_descriptor_from_before_the_copy_up(system, directory):
    """It was opened for reading; another process has written since."""
    with Union(system, directory, lambda lower: file(lower, "f", "text\n")) as union, peers(0, 0) as (one, other):
        path = union.path("f")
        one.do("fd = os.open(%r, os.O_RDONLY)" % path)
        other.do("fd = os.open(%r, os.O_RDWR); os.write(fd, b'T')" % path)
        return change_attributes(one, path)


@check({"fchmod": "works", "futimens": "works", "fchown": "works", "fsetxattr": "works",
        "by the descriptor": ["640", 7, 5, "v"], "by the name": ["640", 7, 5, "v"]})
def attributes_by_a_descriptor_of_a_lower_file(system, directory):
    """The change itself copies up."""
    with Union(system, directory, lambda lower: file(lower, "f", "text\n")) as union, Peer() as one:
        one.do("fd = os.open(%r, os.O_RDONLY)" % union.path("f"))
        return change_attributes(one, union.path("f"))


def change_attributes(peer, path):
    """And looks at them both ways."""
    found = {"fchmod": peer.said("os.fchmod(fd, 0o640)"), "futimens": peer.said("os.utime(fd, (7, 7))"),
             "fchown": peer.said("os.fchown(fd, 5, 5)"), "fsetxattr": peer.said("os.setxattr(fd, 'user.k', b'v')")}
    look = ("['%%o' %% stat.S_IMODE(os.stat({0}).st_mode), int(os.stat({0}).st_mtime), os.stat({0}).st_uid, "
            "said(lambda: os.getxattr({0}, 'user.k').decode())]").replace("%%", "%")
    found["by the descriptor"] = peer.get(look.format("fd"))
    found["by the name"] = peer.get(look.format(repr(path)))
    return found


@check(["4755", "755"])
def set_user_id_goes_when_another_writes(system, directory):
    """A user holds a descriptor for writing while root makes the file root's and set-user-id."""
    with Union(system, directory, lambda lower: file(lower, "f", "x\n", 0o666), "suid" if not system.is_kernel else "") as union:
        with Peer(NOBODY) as user:
            user.do("fd = os.open(%r, os.O_WRONLY)" % union.path("f"))
            os.chown(union.path("f"), 0, 0)
            os.chmod(union.path("f"), 0o4755)
            before = mode_of(union.path("f"))
            user.do("os.write(fd, b'y')")
            return [before, mode_of(union.path("f"))]


@check(["4777", "777", "777", NOBODY])
def set_user_id_is_not_honoured_after_a_write(system, directory):
    """A program of 4777 that a user has written to: the mode that shows, on disk, and who it runs as."""
    def lay(lower):
        subprocess.run(["cp", "/usr/bin/id", os.path.join(lower, "id")], check=True)
        os.chmod(os.path.join(lower, "id"), 0o4777)
    with Union(system, directory, lay, "suid" if not system.is_kernel else "") as union, Peer(NOBODY) as user:
        if not system.is_kernel and not is_allowed(union.merged):
            return "skipped: the mount is not open to others"
        path = union.path("id")
        first = mode_of(path)
        user.do("fd = os.open(%r, os.O_RDWR); os.pwrite(fd, os.pread(fd, 1, 0), 0); os.close(fd)" % path)
        user.do("import subprocess")
        uid = user.get("int(subprocess.run([%r, '-u'], capture_output=True, text=True, check=True).stdout)" % path)
        return [first, mode_of(path), mode_of(os.path.join(union.upper, "id")), uid]


def is_allowed(path):
    """Whether others may use a mount."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file_:
        return any(" %s " % path in line and "allow_other" in line for line in file_)


@check({"held open": ["moves", "moves", "moves"], "closed": ["moves", "moves", "moves"], "unmapped": ["as it was", "as it was"]})
def stores_through_a_mapping_move_the_time(system, directory):
    """mmap, then store, msync and stat, three times: with the descriptor open, and closed; and what shows in the end."""
    def lay(lower):
        for name in ("f", "g"):
            file(lower, name, "x" * 8192)
    with Union(system, directory, lay) as union, Peer() as peer:
        peer.do("libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p\n"
                "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]\n"
                "def store(at, byte):\n"
                "    time.sleep(0.03)\n"
                "    ctypes.memset(at, byte, 1)\n"
                "    assert libc.msync(ctypes.c_void_p(at), 8192, 4) == 0")
        found = {"held open": [], "closed": [], "unmapped": []}
        for name, case in (("f", "held open"), ("g", "closed")):
            path = union.path(name)
            # By hand, as Python's mmap has a descriptor of its own, which keeps the file open.
            peer.do("fd = os.open(%r, os.O_RDWR)\nat = libc.mmap(None, 8192, 3, 1, fd, 0)" % path)
            if case == "closed":
                peer.do("os.close(fd)")
            last = peer.get("os.stat(%r).st_mtime_ns" % path)
            for byte in (65, 66, 67):
                peer.do("store(at, %d)" % byte)
                now = peer.get("os.stat(%r).st_mtime_ns" % path)
                found[case].append("moves" if now > last else "stale")
                last = now
            peer.do("libc.munmap(ctypes.c_void_p(at), 8192)")
            if case != "closed":
                peer.do("os.close(fd)")
            found["unmapped"].append("as it was" if os.stat(path).st_mtime_ns == last else "another time")
        return found


@check({"lower": {"fallocate": "666", "punch": "666", "zero": "666", "write": "666"},
        "upper": {"fallocate": "666", "punch": "666", "zero": "666", "write": "666"}})
def set_group_id_goes_with_any_change_of_content(system, directory):
    """2666 and an unprivileged user; xfstests generic/683 to 685."""
    ways = {"fallocate": "fallocate(fd, 0, 0, 9000)", "punch": "fallocate(fd, 3, 0, 4096)",
            "zero": "fallocate(fd, 16, 0, 4096)", "write": "os.write(fd, b'z') and 0"}

    def lay(lower):
        for way in ways:
            file(lower, way, "x" * 8192, 0o2666)
    found = {"lower": {}, "upper": {}}
    with Union(system, directory, lay, "suid" if not system.is_kernel else "") as union, Peer(NOBODY) as user:
        user.do("libc = ctypes.CDLL(None, use_errno=True)\ndef fallocate(fd, mode, at, length):\n"
                "    r = libc.fallocate(fd, mode, ctypes.c_long(at), ctypes.c_long(length))\n"
                "    return 0 if r == 0 else errno.errorcode[ctypes.get_errno()]")
        for way in ways:
            file(union.merged, "made-" + way, "x" * 8192, 0o2666)
        for where, prefix in (("lower", ""), ("upper", "made-")):
            for way, call in ways.items():
                user.do("fd = os.open(%r, os.O_RDWR)" % union.path(prefix + way))
                said = user.get(call)
                user.do("os.close(fd)")
                found[where][way] = mode_of(union.path(prefix + way)) if said == 0 else said
    return found


# ---- directories -------------------------------------------------------------------------------

@check("")
def tar_finds_no_directory_changed(system, directory):
    """Once something below was copied up and the attributes were known before."""
    def lay(lower):
        file(lower, "var/tmp/there", "x")
        file(lower, "var/log/there", "x")
    with Union(system, directory, lay) as union:
        for name in ("", "var", "var/tmp", "var/log"):
            os.stat(union.path(name))
        with open(union.path("var/tmp/f"), "w", encoding="utf-8") as made:
            made.write("x\n")
        found = subprocess.run(["tar", "-C", union.merged, "-cf", "/dev/null", "."], capture_output=True, text=True, check=False)
        return re.sub(r"tar: |\n", " ", found.stderr).strip()


@check([1, 1])
def a_directorys_links_are_right_at_once(system, directory):
    """After a child of it was copied up: at once, and when the kernel has forgotten."""
    def lay(lower):
        for name in ("d/a/f", "d/b/f"):
            file(lower, name, "x")
    with Union(system, directory, lay) as union:
        os.stat(union.path("d"))
        os.chmod(union.path("d/a/f"), 0o600)
        at_once = os.stat(union.path("d")).st_nlink
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as forget:
            forget.write("2")
        return [at_once, os.stat(union.path("d")).st_nlink]
