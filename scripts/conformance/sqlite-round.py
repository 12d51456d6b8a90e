#!/usr/bin/env python3
"""One round of scripts/conformance/sqlite on one database; run by that script.

    sqlite-round.py make DATABASE JOURNAL             make the database, in what will be a lower layer
    sqlite-round.py locks DATABASE JOURNAL MMAP       a reader's lock against a writer of another process, and the other way
    sqlite-round.py write DATABASE JOURNAL MMAP       two readers, and two writers that make it be copied up
    sqlite-round.py check DATABASE ROWS               integrity_check and the number of rows

The readers have the database open and mapped before the first write, and go on reading all through it; one is opened for
writing, as SQLite does by default, the other, the follower, for reading only. Both must see each commit that has ended. The
bystander is no SQLite: it holds the file of the lower layer open and mapped read-only while all this happens, and its two
views must stay the same.
"""

import mmap as memory
import multiprocessing
import os
import sqlite3
import sys

ROWS = 12_000           # 12,000 rows of 500 bytes: 7 MB, so that the copy-up takes its time
TRANSACTIONS = 20       # of each writer
ROWS_A_TRANSACTION = 5
MMAP_SIZE = 256 << 20


def connect(database, mmap):
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    (size,) = connection.execute(f"PRAGMA mmap_size={MMAP_SIZE if mmap else 0}").fetchone()
    assert size == (MMAP_SIZE if mmap else 0), f"mmap_size is {size}"
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def insert(connection, writer, first):
    connection.executemany(
        "INSERT INTO t (writer, number, filler) VALUES (?, ?, ?)",
        [(writer, first + i, bytes([(first + i) % 256]) * 500) for i in range(ROWS_A_TRANSACTION)],
    )


def make(database, journal):
    connection = connect(database, False)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, writer INTEGER, number INTEGER, filler BLOB)")
    connection.execute("CREATE INDEX i ON t (writer, number)")
    connection.execute("BEGIN")
    for first in range(0, ROWS, ROWS_A_TRANSACTION):
        insert(connection, 0, first)
    connection.execute("COMMIT")
    connection.close()
    # Closing the last connection ends the log.
    assert not os.path.exists(database + "-wal")


def check(database, rows):
    connection = connect(database, False)
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    assert verdict == "ok", f"integrity_check: {verdict}"
    (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
    assert count == rows, f"{count} rows instead of {rows}"
    for row, number, filler in connection.execute("SELECT id, number, filler FROM t"):
        assert filler == bytes([number % 256]) * 500, f"row {row} holds something else"
    connection.close()


def connect_to_follow(database, mmap):
    """Opened for reading only, so that the file is not copied up by it."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size={MMAP_SIZE if mmap else 0}").fetchone()
    return connection


def reader(database, journal, mmap, ready, stop, committed, follows):
    connection = (connect_to_follow if follows else connect)(database, mmap)
    (found,) = connection.execute("PRAGMA journal_mode").fetchone()
    # The log is a property of the file; the other ways are each connection's own, and `delete` is the default.
    assert found == journal, f"journal_mode is {found}"
    count = connection.execute("SELECT count(*), sum(length(filler)) FROM t").fetchone()[0]
    assert count == ROWS, f"the reader sees {count} rows at first"
    ready.set()
    while not stop.is_set():
        known = ROWS + committed.value * ROWS_A_TRANSACTION
        (now,) = connection.execute("SELECT count(*) FROM t").fetchone()
        assert now >= known, f"the reader sees {now} rows where {known} were committed"
        assert now >= count, f"the reader saw {count} rows, and then {now}"
        assert now % ROWS_A_TRANSACTION == 0, f"the reader sees half a transaction: {now} rows"
        (size,) = connection.execute("SELECT sum(length(filler)) FROM t").fetchone()
        assert size % (500 * ROWS_A_TRANSACTION) == 0, f"the reader sees {size} bytes"
        count = now
    (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
    expected = ROWS + 2 * TRANSACTIONS * ROWS_A_TRANSACTION
    assert count == expected, f"the reader sees {count} rows at last, instead of {expected}"
    connection.close()


def writer(database, mmap, number, committed):
    connection = connect(database, mmap)
    for transaction in range(TRANSACTIONS):
        connection.execute("BEGIN IMMEDIATE")
        insert(connection, number, transaction * ROWS_A_TRANSACTION)
        connection.execute("COMMIT")
        with committed.get_lock():
            committed.value += 1
    connection.close()


class Bystander:
    """Holds a file open and mapped for reading only."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.file).st_size
        self.map = memory.mmap(self.file, self.size, memory.MAP_SHARED, memory.PROT_READ)
        assert self.map[:16] == b"SQLite format 3\0"

    def check(self):
        read = os.pread(self.file, self.size, 0)
        assert len(read) == self.size, f"the bystander reads {len(read)} of {self.size} bytes"
        assert read == self.map[:], "the bystander's mapping shows something else than its descriptor"


def write(database, journal, mmap):
    bystander = Bystander(database)
    stop, committed = multiprocessing.Event(), multiprocessing.Value("i", 0)
    reading = []
    for follows in (False, True):
        ready = multiprocessing.Event()
        reading.append(multiprocessing.Process(target=reader, args=(database, journal, mmap, ready, stop, committed, follows),
                                              daemon=True))
        reading[-1].start()
        while not ready.wait(0.1):
            assert reading[-1].is_alive(), "a reader did not get as far as reading"
    writing = [multiprocessing.Process(target=writer, args=(database, mmap, n, committed), daemon=True) for n in (1, 2)]
    for process in writing:
        process.start()
    for process in writing:
        process.join()
    stop.set()
    for process in reading:
        process.join()
    codes = [process.exitcode for process in [*writing, *reading]]
    assert codes == [0, 0, 0, 0], f"exit codes of the writers, the reader and the follower: {codes}"
    bystander.check()
    check(database, ROWS + 2 * TRANSACTIONS * ROWS_A_TRANSACTION)


def commit_now(database, pipe):
    """Tries to change the database at once, when it is told to; what it was told."""
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    for _ in iter(pipe.recv, None):
        try:
            connection.execute("BEGIN EXCLUSIVE")
            insert(connection, 9, 0)
            connection.execute("COMMIT")
            pipe.send("committed")
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            pipe.send(str(error))
    connection.close()


def locks(database, journal, mmap):
    """A reader that is in the middle of reading, before anything was copied up, keeps a writer of another process from
    changing the database under it; with a log, it does not, and sees what it saw."""
    here, there = multiprocessing.Pipe()
    # First, as SQLite's knowledge of its locks is not to be inherited.
    other = multiprocessing.Process(target=commit_now, args=(database, there), daemon=True)
    other.start()
    connection = connect_to_follow(database, mmap)
    connection.execute("BEGIN")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)

    def ask():
        here.send("now")
        assert here.poll(60), "the writer does not answer"
        return here.recv()
    said = ask()
    wanted = "committed" if journal == "wal" else "database is locked"
    assert said == wanted, f"a writer under a reader's lock: {said}"
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,), "a transaction sees what came later"
    connection.execute("COMMIT")
    said = ask()
    assert said == "committed", f"after the reader's end the writer is told: {said}"
    rows = ROWS + ROWS_A_TRANSACTION * (2 if journal == "wal" else 1)
    found = connection.execute("SELECT count(*) FROM t").fetchone()[0]
    assert found == rows, f"the reader that stayed sees {found} rows instead of {rows}"
    here.send(None)
    other.join()
    connection.close()


def main(verb, database, *rest):
    if verb == "make":
        make(database, rest[0])
    elif verb == "locks":
        locks(database, rest[0], rest[1] == "mmap")
    elif verb == "write":
        write(database, rest[0], rest[1] == "mmap")
        print(ROWS + 2 * TRANSACTIONS * ROWS_A_TRANSACTION)
    elif verb == "check":
        check(database, int(rest[0]))
    else:
        sys.exit(f"unknown verb {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
