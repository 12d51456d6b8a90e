#!/usr/bin/env python3
"""One round of scripts/conformance/sqlite on one database; run by that script.

    sqlite-round.py make DATABASE JOURNAL             make the database, in what will be a lower layer
    sqlite-round.py write DATABASE JOURNAL MMAP       a reader, and two writers that make it be copied up
    sqlite-round.py check DATABASE ROWS               integrity_check and the number of rows

The reader has the database open and mapped before the first write, and goes on reading all through it. Every
connection is opened for writing, as SQLite does by default: a connection opened read-only before the copy-up keeps
the old content in io=passthrough, as docs/SEMANTICS.md says. So does the bystander here, which is no SQLite: it holds
the file of the lower layer open and mapped read-only while all this happens, and its two views must stay the same.
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


def reader(database, journal, mmap, ready, stop):
    connection = connect(database, mmap)
    (found,) = connection.execute("PRAGMA journal_mode").fetchone()
    # The log is a property of the file; the other ways are each connection's own, and `delete` is the default.
    assert found == journal, f"journal_mode is {found}"
    count = connection.execute("SELECT count(*), sum(length(filler)) FROM t").fetchone()[0]
    assert count == ROWS, f"the reader sees {count} rows at first"
    ready.set()
    while not stop.is_set():
        (now,) = connection.execute("SELECT count(*) FROM t").fetchone()
        assert now >= count, f"the reader saw {count} rows, and then {now}"
        assert now % ROWS_A_TRANSACTION == 0, f"the reader sees half a transaction: {now} rows"
        (size,) = connection.execute("SELECT sum(length(filler)) FROM t").fetchone()
        assert size % (500 * ROWS_A_TRANSACTION) == 0, f"the reader sees {size} bytes"
        count = now
    (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
    expected = ROWS + 2 * TRANSACTIONS * ROWS_A_TRANSACTION
    assert count == expected, f"the reader sees {count} rows at last, instead of {expected}"
    connection.close()


def writer(database, mmap, number):
    connection = connect(database, mmap)
    for transaction in range(TRANSACTIONS):
        connection.execute("BEGIN IMMEDIATE")
        insert(connection, number, transaction * ROWS_A_TRANSACTION)
        connection.execute("COMMIT")
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
    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    reading = multiprocessing.Process(target=reader, args=(database, journal, mmap, ready, stop))
    reading.start()
    while not ready.wait(0.1):
        assert reading.is_alive(), "the reader did not get as far as reading"
    writing = [multiprocessing.Process(target=writer, args=(database, mmap, n)) for n in (1, 2)]
    for process in writing:
        process.start()
    for process in writing:
        process.join()
    stop.set()
    reading.join()
    codes = [process.exitcode for process in [*writing, reading]]
    assert codes == [0, 0, 0], f"exit codes of the writers and the reader: {codes}"
    bystander.check()
    check(database, ROWS + 2 * TRANSACTIONS * ROWS_A_TRANSACTION)


def main(verb, database, *rest):
    if verb == "make":
        make(database, rest[0])
    elif verb == "write":
        write(database, rest[0], rest[1] == "mmap")
        print(ROWS + 2 * TRANSACTIONS * ROWS_A_TRANSACTION)
    elif verb == "check":
        check(database, int(rest[0]))
    else:
        sys.exit(f"unknown verb {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
