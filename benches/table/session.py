"""One user's table while it is measured: mounts, calls of the client, and what came of them."""

import os
import statistics
import time

from machine import Daemon, Failure, NotHere, drop_caches, run
from systems import Union

# What a row does to the tree, which decides what the plain directory works on.
READS, MAKES, CHANGES = "reads", "makes", "changes"


class Results:
    """Samples by row and system; why others are missing."""

    def __init__(self):
        self.samples, self.failures, self.memory = {}, {}, {}

    def add(self, row, system, nanoseconds, operations, cpu=None, peak=None):
        """One measurement. `cpu` is in nanoseconds, `peak` in KiB; None where there is no daemon."""
        sample = {"microseconds": nanoseconds / operations / 1000}
        if cpu is not None:
            sample["cpu_microseconds"] = cpu / operations / 1000
        if peak is not None:
            sample["peak_kib"] = peak
        self.samples.setdefault((row, system), []).append(sample)

    def add_memory(self, row, system, figures):
        """What a daemon kept."""
        self.memory.setdefault((row, system), []).append(figures)

    def count(self, row, system):
        """How many measurements there are."""
        return len(self.samples.get((row, system), ())) + len(self.memory.get((row, system), ()))

    def fail(self, row, system, reason):
        """That there will be no figure; the first reason stays."""
        self.failures.setdefault((row, system), str(reason))

    def median(self, row, system, field="microseconds"):
        """None where the row was not measured in every round."""
        if (row, system) in self.failures:
            return None
        found = [sample[field] for sample in self.samples.get((row, system), ()) if field in sample]
        return statistics.median(found) if found else None

    def median_memory(self, row, system):
        """Field to median; None as above."""
        found = self.memory.get((row, system))
        if not found or (row, system) in self.failures:
            return None
        return {field: statistics.median(figures[field] for figures in found) for field in found[0]}


class Session:
    """What is the same for all measurements of one user."""

    def __init__(self, who, trees, sizes, temp, client, *, rows, timeout, volatile):
        self.who, self.trees, self.sizes, self.temp, self.client = who, trees, sizes, temp, client
        # The rows that were asked for.
        self.rows, self.timeout, self.volatile = rows, timeout, volatile
        self.results = Results()
        self.number = 0
        self.can_drop = drop_caches()
        self.given = set()

    def tree(self, name):
        """Makes a tree and gives it to the user; returns how many entries it has."""
        entries = self.trees.get(name)
        self.give(name)
        return entries

    def stack(self, count):
        """Makes a stack of layers; returns the name of the tree it shows, and its layers."""
        merged, lowers = self.trees.layer_stack(count)
        for name in [merged, *lowers]:
            self.give(name)
        return merged, lowers

    def give(self, name):
        """Makes the user the owner of a tree, once."""
        if name not in self.given:
            self.who.give(self.trees.path(name))
        self.given.add(name)

    def mounted(self, system, tree, does=READS, **more):
        """A union of the tree and a fresh upper, or the plain tree. To be used with `with`."""
        self.tree(tree)
        return Mounted(self, system, [tree], tree, does, **more)

    def call(self, *arguments):
        """The client as the user; returns nanoseconds and operations."""
        words = run(self.who.command([self.client, *arguments]), timeout=self.timeout).split()
        return int(words[0]), int(words[1])


class Mounted:
    """One mount, fresh, with an upper of its own; or the directory that stands for it."""

    def __init__(self, session, system, lowers, tree, does, *, metacopy=False):
        self.session, self.system, self.lowers, self.tree, self.does = session, system, lowers, tree, does
        self.metacopy = metacopy
        session.number += 1
        self.scratch = os.path.join(session.temp, "scratch-%d" % session.number)
        self.upper, self.work, self.path = (os.path.join(self.scratch, name) for name in ("upper", "work", "merged"))
        self.daemon = None
        self.is_mounted = False
        self.mount_nanoseconds = None

    def __enter__(self):
        for path in (self.upper, self.work, self.path):
            os.makedirs(path)
        self.session.who.give(self.scratch)
        try:
            if self.system.is_plain:
                self.take_plain()
                os.sync()
                drop_caches()
            else:
                # Before the mount, so that nothing of the union has to be forgotten again.
                if self.does != READS:
                    os.sync()
                drop_caches()
                self.mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def take_plain(self):
        """What a program works on where there is no union."""
        source = self.session.trees.path(self.tree)
        if self.does == READS:
            self.path = source
        elif self.does == CHANGES:
            run(self.session.who.command(["cp", "-a", source + "/.", self.path]), timeout=self.session.timeout)

    def mount(self):
        """Mounts, which is timed, and finds the daemon."""
        session = self.session
        union = Union(self.lowers, self.upper, self.work, metacopy=self.metacopy, volatile=session.volatile,
                      user=session.who.user)
        command = [*self.system.command(union), self.path]
        self.is_mounted = True
        self.mount_nanoseconds, _ = session.call("mount", session.trees.layers, self.path, *command)
        if self.system.has_daemon:
            self.daemon = Daemon(self.path)
            if self.daemon.main is None:
                raise Failure("its daemon is not to be found")

    def __exit__(self, *_):
        if self.is_mounted:
            self.unmount()
        if self.daemon:
            self.daemon.wait()
        # As the user: overlayfs leaves a directory of mode 0 in the work directory.
        run(self.session.who.command(["rm", "-rf", "--one-file-system", "--", self.scratch]), timeout=self.session.timeout)

    def unmount(self):
        """Unmounts; lazily where that fails, so that nothing stays."""
        for lazily in ([], [], [], ["-l"]):
            try:
                run(self.session.who.command(["umount", *lazily, self.path]), timeout=60)
                break
            except Failure as error:
                if not self.exists():
                    break
                reason = error
                time.sleep(0.2)
        else:
            raise Failure("unmounting: %s" % reason)

    def exists(self):
        """Whether something is mounted there."""
        text = run(self.session.who.command(["cat", "/proc/self/mountinfo"]))
        return any(line.split()[4] == self.path for line in text.splitlines())

    def measure(self, row, operation, *arguments, expect=None, cold=False, where=None):
        """Has the client do something in the mount and keeps the time, with the daemon's processor time and memory.
        `expect` is how many operations it must have been."""
        session = self.session
        if cold and self.system.is_plain and not session.can_drop:
            raise NotHere("only root can make the kernel forget its names")
        before = self.daemon.cpu() if self.daemon else None
        if self.daemon:
            self.daemon.reset_peak()
        directory = os.path.join(self.path, where) if where else self.path
        nanoseconds, operations = session.call(operation, directory, *map(str, arguments))
        if expect is not None and operations != expect:
            raise Failure("it showed %d of %d" % (operations, expect))
        self.record(row, nanoseconds, operations, before)

    def verify(self, row, operation, *arguments, expect=None, where=None):
        """Does something more that shows whether the row's operation did what it had to; if not, the row has no figure."""
        try:
            self.measure(None, operation, *arguments, expect=expect, where=where)
        except Failure as error:
            self.session.results.fail(row, self.system.name, "afterwards: %s" % error)
            raise

    def record(self, row, nanoseconds, operations, cpu_before):
        """Keeps a measurement, where its row was asked for."""
        if row not in self.session.rows:
            return
        cpu = peak = None
        if self.daemon:
            _, peak = self.daemon.memory()
            if cpu_before is not None:
                cpu = Daemon.cpu_between(cpu_before, self.daemon.cpu())
        self.session.results.add(row, self.system.name, nanoseconds, operations, cpu, peak)
