"""The checks of scripts/conformance/latency: how long a bystander waits for what others do.

usage: main.py PROGRAM DIRECTORY SLOWFS [--kernel-only] [--ways A,B] [--more OPTIONS] [--only WORD]

Nothing is held against a time. A bystander looks up names that nobody asked for before. Its worst wait while something is
going on may be as long as the longest of: MANY times its worst wait on the same mount at rest; PEER times that on overlayfs
of the kernel while the same goes on there; a SHARE of what the job takes. What misses that is tried twice more, since
the machine has its own pauses; three misses are a failure.
"""

import argparse
import os
import sys
import traceback

import jobs
from union import System

MANY, PEER, SHARE, TRIES = 20, 4, 0.15, 3


class Verdict:
    """Lines, and their sums."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def tell(self, well, title, figures):
        print("%s %s: %s" % ("ok     " if well else "FAILED ", title, figures), flush=True)
        if well:
            self.passed += 1
        else:
            self.failed += 1

    def skip(self, title, why):
        print("skipped %s: %s" % (title, why), flush=True)
        self.skipped += 1


def figures(waited, kernel):
    """What a bystander met, in words."""
    text = "worst wait %.1f ms of %d, %.1f at rest, the job took %.0f ms" % (
        waited.worst * 1e3, waited.count, waited.rest * 1e3, waited.job * 1e3)
    return text + (", kernel %.1f" % (kernel.worst * 1e3) if kernel else "")


def is_well(waited, kernel):
    """Whether a wait is short enough."""
    limits = [MANY * waited.rest, SHARE * waited.job]
    if kernel:
        limits.append(PEER * kernel.worst)
    return waited.worst <= max(limits)


def hold(job, systems, place, verdict):
    """One job on all systems, the kernel first."""
    kernel = None
    for system in systems:
        title = "%s, %s" % (job.__name__.replace("_", "-"), system.name)
        for attempt in range(TRIES):
            try:
                waited = job(system, place)
            except jobs.NotHere as error:
                verdict.skip(title, error)
                break
            except (OSError, AssertionError) as error:
                verdict.tell(False, title, error)
                break
            except Exception:
                verdict.tell(False, title, traceback.format_exc())
                break
            if isinstance(waited, str):
                verdict.tell(waited == "", title, waited or "works")
                break
            if system.is_kernel:
                kernel = waited
                print("        %s: %s" % (title, figures(waited, None)), flush=True)
                break
            if is_well(waited, kernel) or attempt == TRIES - 1:
                verdict.tell(is_well(waited, kernel), title, figures(waited, kernel))
                break


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("directory")
    parser.add_argument("slowfs")
    parser.add_argument("--kernel-only", action="store_true")
    parser.add_argument("--ways", default="passthrough,cached")
    parser.add_argument("--more", default="")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    jobs.SLOWFS = arguments.slowfs
    systems = [System("kernel", "")]
    if not arguments.kernel_only:
        systems += [System(arguments.program, way if way != "-" else "", arguments.more) for way in arguments.ways.split(",")]
    verdict = Verdict()
    with jobs.Place(arguments.directory) as place:
        for job in jobs.JOBS:
            if arguments.only in job.__name__:
                hold(job, systems, place, verdict)
    print("%d %d %d" % (verdict.passed, verdict.failed, verdict.skipped))
    sys.stdout.flush()


main()
