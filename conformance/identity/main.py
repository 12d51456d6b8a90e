"""The checks of scripts/conformance/identity, in turn on the kernel's overlayfs and on a mount program.

usage: main.py PROGRAM DIRECTORY [--kernel-only] [--ways A,B] [--more OPTIONS] [--only WORD]
"""

import argparse
import os
import sys
import traceback

# Registered in this order.
import one_file  # noqa: F401
import places  # noqa: F401
from registry import CHECKS
from union import System


def verdict(check, system, directory):
    """What came of a check; an error is an outcome like another."""
    try:
        return check(system, directory)
    except (AssertionError, OSError) as error:
        return "%s: %s" % (type(error).__name__, error)
    except Exception:
        return "fault of the check: " + traceback.format_exc()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("directory")
    parser.add_argument("--kernel-only", action="store_true")
    parser.add_argument("--ways", default="passthrough,cached")
    parser.add_argument("--more", default="")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    systems = [System("kernel", "")]
    if not arguments.kernel_only:
        systems += [System(arguments.program, way if way != "-" else "", arguments.more) for way in arguments.ways.split(",")]
    passed = failed = skipped = 0
    for check in CHECKS:
        if arguments.only not in check.__name__:
            continue
        for system in systems:
            title = "%s, %s" % (check.__name__.replace("_", "-"), system.name)
            found = verdict(check, system, os.path.join(arguments.directory, "union"))
            if isinstance(found, str) and found.startswith("skipped"):
                print("%s: %s" % (title, found))
                skipped += 1
            elif found == check.right:
                print("ok      %s" % title)
                passed += 1
            else:
                print("FAILED  %s: %s; right is %s" % (title, found, check.right))
                failed += 1
            sys.stdout.flush()
    print("%d %d %d" % (passed, failed, skipped))


main()
