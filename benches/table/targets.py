"""What is to be reached, and whether it is: ratios of medians of one run, lower is better."""

from systems import ROOT

PEER, KERNEL, OURS, CACHED = "fuse-overlayfs-2", "kernel", "plyfs-passthrough", "plyfs-cached"

# Against fuse-overlayfs 2.0.0 every row is held to 1.0, these to less.
METADATA = ("stat-cold", "read-cold", "read-warm", "create", "unlink", "rename", "untar", "rm-rf")
BY_SEVERAL = ("stat-cold-2", "read-cold-2", "read-warm-2", "create-2", "stat-cold-4", "read-cold-4", "stat-cold-8", "read-cold-8")
CACHED_BY_THE_KERNEL = ("ls-warm", "missing-warm", "write-4k", "append-4k")
# Rows whose figure is no time of one operation, or that compare with themselves.
MEMORY = ("memory-many", "memory-huge")

AGAINST_KERNEL = {
    OURS: {
        **dict.fromkeys(("sequential-first", "sequential-second", "mmap-read", "random-read", "write-4k", "write-1m", "append-4k",
                         "overwrite-4k"), 1.1),
        **dict.fromkeys(("stat-warm", "walk-warm", "ls-warm", "missing-warm"), 0.9),
        "walk-cold": 1.3, "stat-cold": 3, "create": 3.7, "unlink": 2.7, "rename": 2.7, "walk-60": 0.5, "shell": 1.4,
    },
    CACHED: {"read-warm": 0.95, "shell": 1.4},
}
# Time per operation in a larger tree against that in a smaller one.
LINEAR = {"walk-huge": "walk-many", "list-wide": "list-wide-tenth", "delete-wide": "delete-wide-tenth"}
LINEAR_FACTOR = 1.3
BYTES_PER_INODE, LEFT_AFTER_FORGETTING, DESCRIPTORS = 200, 1.1, 500


def limit_against_peer(row):
    """The ratio to fuse-overlayfs 2.0.0 that a row may have."""
    if row == "read-warm":
        return 0.3
    if row in METADATA:
        return 0.5
    if row in BY_SEVERAL:
        return 0.45
    return 0.2 if row in CACHED_BY_THE_KERNEL else 1.0


class Target:
    """One target: what, the limit, and the figure; None where it was not measured."""

    def __init__(self, what, limit, figure, unit="ratio"):
        self.what, self.limit, self.figure, self.unit = what, limit, figure, unit

    @property
    def verdict(self):
        """In one word or two."""
        if self.figure is None:
            return "not measured"
        return "met" if self.figure <= self.limit else "missed"

    def line(self):
        """As it is printed."""
        if self.figure is None:
            return "not measured %s (at most %g)" % (self.what, self.limit)
        return "%-6s %s: %s %.3g (at most %g)" % (self.verdict, self.what, self.unit, self.figure, self.limit)

    def document(self):
        """As it stands in the JSON."""
        return {"target": self.what, "verdict": self.verdict, "at_most": self.limit, "figure": self.figure, "unit": self.unit}


def ratio(results, row, system, to, to_row=None):
    """Of two medians; None where one of them was not measured."""
    ours, theirs = results.median(row, system), results.median(to_row or row, to)
    return ours / theirs if ours is not None and theirs else None


def targets(user, results, rows):
    """All targets for one user's table; `rows` are all rows there are, measured or not."""
    times = [row for row in rows if row not in MEMORY]
    ours = OURS if user == ROOT else CACHED
    found = [Target("%s, %s to %s" % (row, ours, PEER), limit_against_peer(row), ratio(results, row, ours, PEER))
             for row in times]
    if user == ROOT:
        for system, limits in AGAINST_KERNEL.items():
            found += [Target("%s, %s to the kernel" % (row, system), limit, ratio(results, row, system, KERNEL))
                      for row, limit in limits.items()]
    for system in (OURS, CACHED) if user == ROOT else (CACHED,):
        for row, smaller in LINEAR.items():
            found.append(Target("%s to %s, %s" % (row, smaller, system), LINEAR_FACTOR,
                                ratio(results, row, system, system, smaller)))
        for row in MEMORY:
            found += memory_targets(results.median_memory(row, system) or {}, "%s, %s" % (row, system))
        found.append(finishes(results, "walk-300", system))
    return found


def memory_targets(figures, what):
    """Bytes an inode, what stays after forgetting, and descriptors."""
    start, forgotten = figures.get("start_kib"), figures.get("forgotten_kib")
    return [
        Target(what + ", held", BYTES_PER_INODE, figures.get("bytes_per_inode"), "bytes an inode"),
        Target(what + ", after forgetting to before", LEFT_AFTER_FORGETTING, forgotten / start if start else None),
        Target(what + ", open", DESCRIPTORS, figures.get("descriptors"), "descriptors"),
    ]


def finishes(results, row, system):
    """That it works at all: the number of failures."""
    failed = (row, system) in results.failures
    figure = 1 if failed and results.failures[row, system] else (0 if results.count(row, system) else None)
    return Target("%s works, %s" % (row, system), 0, figure, "failures")
