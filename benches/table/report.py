"""The tables, as text and as JSON."""

from rows import TITLES
from targets import KERNEL, MEMORY, PEER, ratio, targets

NAME_WIDTH = 19


def number(value):
    """Three digits that count, without an exponent; `-` for what was not measured."""
    if value is None:
        return "-"
    if value >= 100:
        return "%d" % round(value)
    return "%.3g" % value if value >= 0.001 else "0"


class Report:
    """What one user's session measured."""

    def __init__(self, session, systems, absent, rows, rounds):
        # `absent` are systems that this machine has not got, with the reason.
        self.session, self.systems, self.absent, self.rows, self.rounds = session, systems, absent, rows, rounds
        self.results = session.results
        for row in rows:
            for system in systems:
                count = self.results.count(row, system.name)
                if count < rounds:
                    self.results.fail(row, system.name, "measured in %d of %d rounds" % (count, rounds))

    def title(self, row):
        """What a row measures, with the sizes of this run."""
        sizes = dict(self.session.sizes, wide_tenth=self.session.sizes["wide"] // 10)
        return TITLES[row][0].format(**sizes)

    def table(self, heading, cell, rows=None):
        """One table: `cell(row, system name)` is a number or None. A row without any is left out."""
        names = [system.name for system in self.systems]
        widths = [max(9, len(name)) for name in names]
        lines = ["", heading, " " * NAME_WIDTH + "".join("  %*s" % pair for pair in zip(widths, names))]
        for row in rows or [row for row in self.rows if row not in MEMORY]:
            values = [cell(row, name) for name in names]
            if any(value is not None for value in values):
                cells = "".join("  %*s" % (width, number(value)) for width, value in zip(widths, values))
                lines.append("%-*s%s" % (NAME_WIDTH, row, cells))
        return "\n".join(lines) if len(lines) > 3 else ""

    def text(self):
        """All tables, what was skipped, and the targets."""
        results = self.results
        rows = [row for row in self.rows if row not in MEMORY]
        parts = [
            self.legend(),
            self.table("Microseconds per operation (medians of %d rounds)" % self.rounds, results.median),
            self.table("Ratio to overlayfs of the kernel", lambda row, name: ratio(results, row, name, KERNEL)),
            self.table("Ratio to fuse-overlayfs 2.0.0", lambda row, name: ratio(results, row, name, PEER)),
            self.table("Processor time of the daemon, microseconds per operation",
                       lambda row, name: results.median(row, name, "cpu_microseconds")),
            self.table("Most memory of the daemon during the row, MiB",
                       lambda row, name: mebibytes(results.median(row, name, "peak_kib")), rows),
            self.memory_table(),
            self.skipped(),
            self.target_lines(),
        ]
        return "\n".join(part for part in parts if part)

    def legend(self):
        """What the rows and columns are."""
        lines = ["", "The rows"]
        lines += ["%-*s  %s (per %s)" % (NAME_WIDTH, row, self.title(row), TITLES[row][1]) for row in self.rows]
        lines += ["", "The columns"] + ["%-*s  %s" % (NAME_WIDTH, system.name, system.title) for system in self.systems]
        return "\n".join(lines)

    def memory_table(self):
        """What the daemons kept of many inodes."""
        head = "%-*s  %-18s %9s %9s %9s %9s %8s %5s" % (NAME_WIDTH, "", "", "start", "walked", "peak", "forgotten", "B/inode", "files")
        lines = ["", "Memory of the daemon, KiB, and its open files", head]
        for row in self.rows:
            for system in self.systems:
                figures = self.results.median_memory(row, system.name)
                if figures:
                    values = [figures[name] for name in ("start_kib", "walked_kib", "peak_kib", "forgotten_kib", "bytes_per_inode",
                                                         "descriptors")]
                    lines.append("%-*s  %-18s %9d %9d %9d %9d %8d %5d" % (NAME_WIDTH, row, system.name, *values))
        return "\n".join(lines) if len(lines) > 3 else ""

    def skipped(self):
        """Systems and rows without a figure, with the reason."""
        lines = ["skipped %s: %s" % item for item in self.absent.items()]
        for row in self.rows:
            for system in self.systems:
                reason = self.results.failures.get((row, system.name))
                if reason:
                    lines.append("skipped %s with %s: %s" % (row, system.name, reason))
        return "\n".join(["", "Not measured (`-`)"] + lines) if lines else ""

    def targets(self):
        """All of them, those whose rows were not asked for too."""
        return targets(self.session.who.user, self.results, list(TITLES))

    def target_lines(self):
        """One line each, and a count."""
        found = self.targets()
        counts = {verdict: sum(target.verdict == verdict for target in found) for verdict in ("met", "missed", "not measured")}
        return "\n".join(["", "Targets"] + [target.line() for target in found] +
                         ["", "targets %s: %s" % (self.session.who.user, ", ".join("%d %s" % (counts[v], v) for v in counts))])

    def document(self):
        """Everything, as JSON can hold it."""
        results, document = self.results, {"user": self.session.who.user, "absent": self.absent, "rows": []}
        for row in self.rows:
            title, operation = self.title(row), TITLES[row][1]
            cells = {}
            for system in self.systems:
                cell = {"skipped": results.failures.get((row, system.name))}
                if cell["skipped"] is None:
                    cell = {field: results.median(row, system.name, field)
                            for field in ("microseconds", "cpu_microseconds", "peak_kib")}
                    cell["ratio_to_kernel"] = ratio(results, row, system.name, KERNEL)
                    cell["ratio_to_fuse_overlayfs_2"] = ratio(results, row, system.name, PEER)
                    cell["samples"] = results.samples.get((row, system.name), [])
                    cell["memory"] = results.median_memory(row, system.name)
                cells[system.name] = cell
            document["rows"].append({"name": row, "title": title, "operation": operation, "systems": cells})
        document["targets"] = [target.document() for target in self.targets()]
        return document


def mebibytes(kibibytes):
    """None stays None."""
    return None if kibibytes is None else kibibytes / 1024
