"""The memory of the processes that serve containers, those in containers left out: run by scripts/many.

usage: memory.py TEXT

Sums the proportional set sizes (Pss of smaps_rollup) of all processes in this pid namespace with TEXT in their command
line, and prints for each program how many there are and how much they take, in KiB, then the sum:

    plyfs 100 40960
    total 150 81920
"""

import os
import sys

PROGRAMS = ["plyfs", "runc", "crun", "conmon", "fuse-overlayfs"]


def pss(pid):
    with open("/proc/%s/smaps_rollup" % pid, encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def main():
    text = sys.argv[1].encode()
    own = os.readlink("/proc/self/ns/pid")
    sums = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                line = file.read()
            program = os.path.basename(os.readlink("/proc/%s/exe" % pid))
            if text in line and program in PROGRAMS and os.readlink("/proc/%s/ns/pid" % pid) == own:
                count, size = sums.get(program, (0, 0))
                sums[program] = (count + 1, size + pss(pid))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            # It ended meanwhile.
            continue
    for program, (count, size) in sorted(sums.items()):
        print(program, count, size)
    print("total", sum(count for count, _ in sums.values()), sum(size for _, size in sums.values()))


if __name__ == "__main__":
    main()
