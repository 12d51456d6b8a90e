"""Measures all rows with all systems in turn; run by scripts/bench, which says what the arguments mean.

usage: main.py plan ARGUMENT...   checks the arguments; prints the rows with --list
       main.py run TEMP ARGUMENT...  measures; TEMP/bin has bench-client, plyfs-mount and fuse-overlayfs-2
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time

import machine
import picture
import systems
from report import Report
from rows import GROUPS, TITLES
from scratch import Scratch
from session import Session
from trees import FULL, QUICK, Trees

ENOUGH_ROUNDS = 5
# Of the random numbers by which the systems are put in order.
ORDER = 20


def parse(arguments):
    """What was asked for; ends with a message where that is wrong."""
    quick = bool(os.environ.get("QUICK"))
    sizes = QUICK if quick else FULL
    parser = argparse.ArgumentParser(prog="bench", add_help=False, allow_abbrev=False)
    parser.add_argument("--rounds", type=positive, default=1 if quick else ENOUGH_ROUNDS)
    parser.add_argument("--rows", type=names, default=[])
    parser.add_argument("--systems", type=names, default=[])
    for option in ("list", "large", "volatile", "disk"):
        parser.add_argument("--" + option, action="store_true")
    users = parser.add_mutually_exclusive_group()
    users.add_argument("--privileged", dest="users", action="store_const", const=[systems.ROOT])
    users.add_argument("--unprivileged", dest="users", action="store_const", const=[systems.USER])
    parser.add_argument("--json")
    parser.add_argument("--svg")
    parser.add_argument("--files", type=positive, default=sizes["files"])
    parser.add_argument("--mebibytes", type=positive, default=sizes["mebibytes"])
    parser.add_argument("--large-mebibytes", type=positive, default=sizes["large_mebibytes"])
    parser.add_argument("--seconds", type=positive, default=sizes["seconds"])
    parser.add_argument("--timeout", type=positive, default=600)
    parsed = parser.parse_args(arguments)
    parsed.users = parsed.users or [systems.ROOT, systems.USER]
    parsed.sizes = dict(sizes, files=parsed.files, mebibytes=parsed.mebibytes, large_mebibytes=parsed.large_mebibytes,
                        seconds=parsed.seconds)
    large = {row for group in GROUPS if group.large for row in group.rows}
    parsed.left_out = [] if parsed.large or parsed.rows else sorted(large)
    check(parser, "--rows", parsed.rows, TITLES)
    parsed.rows = [row for row in TITLES if row in parsed.rows or not parsed.rows and row not in parsed.left_out]
    return parser, parsed


def positive(text):
    """A number that can be a count."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("%s is not a number from 1 on" % text)
    return value


def names(text):
    """Names with commas between."""
    return [name for name in text.split(",") if name]


def check(parser, option, given, known):
    """Ends with a message where a name is unknown."""
    for name in given:
        if name not in known:
            parser.error("%s: there is no %s; there are %s" % (option, name, ", ".join(known)))


def measure(session, chosen, groups, rounds):
    """All rounds; the order of the systems is another one each time, but the same in every run: what a system finds depends
    on what the one before it left, such as memory that the host has taken back."""
    hopeless, numbers = set(), random.Random(ORDER)
    for number in range(rounds):
        for group in groups:
            for system in numbers.sample(chosen, len(chosen)):
                if (group, system.name) in hopeless:
                    continue
                start = time.monotonic()
                try:
                    group.run(session, system)
                except (machine.Failure, OSError) as error:
                    wanted = [row for row in group.rows if row in session.rows]
                    for row in wanted:
                        if session.results.count(row, system.name) <= number:
                            session.results.fail(row, system.name, error)
                    if all((row, system.name) in session.results.failures for row in wanted):
                        hopeless.add((group, system.name))
                progress("%s: round %d of %d, %s with %s: %.1f s" % (session.who.user, number + 1, rounds,
                         ", ".join(group.rows), system.name, time.monotonic() - start))


def progress(line):
    """Where it stands, for who waits."""
    print(line, file=sys.stderr, flush=True)


def session_of(user, temp, scratch, options, every):
    """One user's measurements and the report of them. None where there is no such user here, with the reason."""
    absent = {system.name: system.missing for system in every if user in system.users and system.missing}
    chosen = [system for system in every if user in system.users and not system.missing]
    if options.systems:
        absent.update({system.name: "not asked for" for system in chosen if system.name not in options.systems})
        chosen = [system for system in chosen if system.name in options.systems]
    if not chosen:
        return None, "no system is left to measure"
    if user == systems.ROOT and os.getuid():
        return None, "needs root"
    base = os.path.join(scratch, "root" if user == systems.ROOT else "user")
    os.makedirs(base)
    client = os.path.join(temp, "bin", "bench-client")
    trees = Trees(os.path.join(base, "layers"), options.sizes, client)
    try:
        who = systems.Root() if user == systems.ROOT else systems.Namespace(base)
    except machine.Failure as error:
        return None, str(error)
    try:
        who.give(base)
        session = Session(who, trees, options.sizes, base, client, rows=set(options.rows), timeout=options.timeout,
                          volatile=options.volatile)
        groups = [group for group in GROUPS if set(group.rows) & session.rows]
        measure(session, chosen, groups, options.rounds)
    finally:
        who.close()
    # The next one needs the room.
    shutil.rmtree(base)
    return Report(session, chosen, absent, options.rows, options.rounds), None


def execute(temp, parser, options):
    """Measures and prints, on a file system that goes away afterwards."""
    every = systems.available(os.path.join(temp, "bin"))
    check(parser, "--systems", options.systems, [system.name for system in every])
    with_huge = any(row.endswith("-huge") for row in options.rows)
    scratch = Scratch(os.path.join(temp, "scratch"), options.sizes, with_huge, "disk" if options.disk else "memory")
    try:
        return tables(temp, scratch, options, every)
    finally:
        scratch.close()


def tables(temp, scratch, options, every):
    """One for each user."""
    about = {**machine.describe(), "layers on": scratch.title, "rounds": options.rounds, "volatile": options.volatile, "sizes": options.sizes}
    reports = []
    for user in options.users:
        report, reason = session_of(user, temp, scratch.directory, options, every)
        print("\n==> %s" % user)
        if report is None:
            print("skipped %s: %s" % (user, reason))
            continue
        reports.append(report)
        print("Linux %(kernel)s, %(processors)d processors; layers on %(layers on)s; volatile mounts: %(volatile)s" % about)
        if not report.session.can_drop:
            print("Only root can make the kernel forget: cold means a fresh mount only.")
        print(report.text())
    close_up(options, about, reports)
    measured = any(report.results.samples or report.results.memory for report in reports)
    missed = any(target.verdict == "missed" for report in reports for target in report.targets())
    return 1 if not measured or missed and options.rounds >= ENOUGH_ROUNDS else 0


def close_up(options, about, reports):
    """What is to be said at the end, and the files that were asked for."""
    if options.left_out:
        print("\nleft out without --large: %s" % ", ".join(options.left_out))
    if options.rounds < ENOUGH_ROUNDS:
        print("\n%d rounds are too few to draw conclusions; %d are enough" % (options.rounds, ENOUGH_ROUNDS))
    if options.json:
        save(options.json, json.dumps({"machine": about, "tables": [report.document() for report in reports]}, indent=1))
    if options.svg and reports:
        save(options.svg, picture.draw(reports[0], about))


def save(path, content):
    """Writes a file, whole or not at all."""
    with open(path + ".unfinished", "w", encoding="utf-8") as file:
        file.write(content)
    os.replace(path + ".unfinished", path)


def end(number, _frame):
    """So that what is mounted is unmounted on the way out."""
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    """See above."""
    verb, *arguments = sys.argv[1:]
    temp = arguments.pop(0) if verb == "run" else None
    parser, options = parse(arguments)
    if verb == "plan":
        every = systems.available("/nonexistent")
        check(parser, "--systems", options.systems, [system.name for system in every])
        if options.list:
            sizes = dict(options.sizes, wide_tenth=options.sizes["wide"] // 10)
            print("".join("%-18s %s\n" % (row, title.format(**sizes)) for row, (title, _) in TITLES.items()), end="")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return execute(temp, parser, options)


if __name__ == "__main__":
    sys.exit(main())
