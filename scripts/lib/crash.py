"""Kills plyfs at random moments and looks at what is left: run by scripts/crash.

usage: crash.py PLYFS DIRECTORY ROUNDS SEED

Each round starts one to three commands at once and kills them (SIGKILL) after a random time. Then, without any repair:
fsck finds no error, the next command works and leaves tmp/ empty, every image whose command had ended well is there
with the ID that it told and exports the same bytes, what was removed is gone, and nothing is there that nobody made.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import time

from rawtar import Image, Tar, long

SECONDS = 120
REF_NAME = "org.opencontainers.image.ref.name"


def tree(dice, label, files):
    """A layer's tar: small files and a few large ones."""
    tar = Tar()
    for n in range(files):
        size = dice.choice([0, 10, 500, 5000, 200_000] if n % 20 == 0 else [0, 10, 500])
        data = (b"%s %d " % (label, n)) * (size // 10) + dice.randbytes(size // 2)
        long(tar, b"%s/%d/%d" % (label, n % 7, n), data=data)
    return tar.end()


class Crash:
    def __init__(self, plyfs, directory, seed):
        self.plyfs, self.directory = plyfs, directory
        self.store = os.path.join(directory, "store")
        self.dice = random.Random(seed)
        self.images = {}      # name: image ID, of what a command has reported done
        self.maybe = {}       # name: the states that it may be in (an ID, or None for gone), after a command was killed
        self.exports = {}     # image ID: the digest of its export
        self.times = {}       # verb: how long it takes
        self.containers = set()
        self.number = 0
        self.wrong = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, arguments):
        return subprocess.Popen([self.plyfs, "--root", self.store, *arguments], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def call(self, *arguments):
        """Runs a command to its end; the output, or None where it failed."""
        started = time.monotonic()
        process = self.start(arguments)
        out, err = process.communicate(timeout=SECONDS)
        self.times[arguments[0]] = min(time.monotonic() - started, self.times.get(arguments[0], SECONDS))
        if process.returncode:
            self.wrong.append("%s: exit status %d: %s" % (" ".join(arguments), process.returncode,
                                                          err.decode(errors="replace")[-500:] + out.decode()[-500:]))
            return None
        return out.decode()

    def set_up(self):
        for n in range(4):
            with open(self.path("tree%d.tar" % n), "wb") as file:
                file.write(tree(self.dice, b"tree%d" % n, 150))
        self.layers = [tree(self.dice, b"layer%d" % n, 60) for n in range(4)]
        self.images["base:1"] = self.call("import", self.path("tree0.tar"), "base:1").strip()
        for n in range(3):
            name = "container%d" % n
            self.call("create", "base:1", "--name", name)
            self.containers.add(name)
        for config in os.scandir(os.path.join(self.store, "containers")):
            upper = os.path.join(config.path, "upper")
            for n in range(120):
                with open(os.path.join(upper, "%s-%d" % (config.name[:5], n)), "wb") as file:
                    file.write(self.dice.randbytes(self.dice.choice([5, 3000, 50_000])))
        # How long each takes, so that they are killed within that.
        self.images["timed:1"] = self.call("commit", "container0", "timed:1").strip()
        with open(self.path("load.tar"), "wb") as file:
            file.write(Image(*self.layers).oci("timed:2"))
        self.call("load", "-i", self.path("load.tar"))
        self.call("rmi", "timed:2")
        self.call("prune", "-f")

    def plan(self):
        """A random command, and the names that it may change with what they become."""
        self.number += 1
        name = "image%d:1" % self.number
        verb = self.dice.choice(["import", "import", "commit", "commit", "load", "load", "rmi", "prune", "tag", "replace"])
        here = [name for name in self.images if name not in ("base:1", "timed:1") and name not in self.busy]
        if verb == "import":
            return ["import", self.path("tree%d.tar" % self.dice.randrange(4)), name], {name: "told"}
        if verb == "commit":
            compression = self.dice.choice(["gzip", "zstd", "none"])
            return ["commit", "--compression", compression, self.dice.choice(sorted(self.containers)), name], {name: "told"}
        if verb == "load":
            layers = self.dice.sample(self.layers, 3)
            made = Image(*layers, compressed=self.dice.choice(["", "gzip"]))
            made.config["author"] = name
            with open(self.path("load%d.tar" % (self.number % 3)), "wb") as file:
                file.write(self.dice.choice([made.oci, made.docker])(name))
            identity = "sha256:" + hashlib.sha256(made.config_bytes()).hexdigest()
            return ["load", "-i", self.path("load%d.tar" % (self.number % 3))], {name: identity}
        if verb == "prune" or not here:
            return ["prune", "-f"], {}
        old = self.dice.choice(here)
        self.busy.add(old)
        if verb == "rmi":
            return ["rmi", old], {old: None}
        if verb == "tag":
            self.busy.add(name)
            return ["tag", old, name], {name: self.images[old]}
        # Another image takes the name; the old one, if nothing else names it, has none then.
        return ["import", self.path("tree%d.tar" % self.dice.randrange(4)), old], {old: "told"}

    def round(self):
        self.busy = set()
        plans = [self.plan() for _ in range(self.dice.choice([1, 1, 2, 3]))]
        processes = [(self.start(arguments), arguments, changes) for arguments, changes in plans]
        longest = max(self.times.get(arguments[0], 0.05) for arguments, _ in plans)
        time.sleep(self.dice.random() * 0.9 * longest * len(plans))
        for process, _, _ in processes:
            process.kill()
        killed = 0
        for process, arguments, changes in processes:
            out, err = process.communicate(timeout=SECONDS)
            if process.returncode == -9:
                killed += 1
                for name, becomes in changes.items():
                    self.maybe[name] = (self.images.get(name), becomes)
            elif process.returncode == 0:
                for name, becomes in changes.items():
                    identity = out.decode().strip() if becomes == "told" else becomes
                    self.images[name] = identity
            else:
                self.wrong.append("%s: exit status %d: %s" % (" ".join(arguments), process.returncode, err.decode()))
        self.verify()
        return killed

    def names(self):
        with open(os.path.join(self.store, "index.json"), encoding="utf-8") as file:
            index = json.load(file)
        found = {}
        for entry in index["manifests"]:
            name = entry.get("annotations", {}).get(REF_NAME)
            with open(os.path.join(self.store, "blobs/sha256", entry["digest"][7:]), encoding="utf-8") as file:
                found[name] = json.load(file)["config"]["digest"]
        found.pop(None, None)
        return found

    def verify(self):
        found = self.names()
        for name, (before, after) in self.maybe.items():
            now = found.get(name)
            if now != before and after != "told" and now != after:
                self.wrong.append("%s is %s and should be %s or %s" % (name, now, before, after))
            self.images[name] = now
        self.maybe.clear()
        expected = {name: identity for name, identity in self.images.items() if identity}
        for name in sorted(set(expected) | set(found)):
            if expected.get(name) != found.get(name):
                self.wrong.append("%s is %s and should be %s" % (name, found.get(name), expected.get(name)))
        self.images = expected
        # As it was left.
        self.call("fsck")
        # The next writer.
        self.call("tag", "base:1", "after:1")
        left = os.listdir(os.path.join(self.store, "tmp"))
        if left:
            self.wrong.append("tmp/ holds %s" % left)
        self.call("rmi", "after:1")
        name = self.dice.choice(sorted(self.images))
        self.verify_export(name, self.images[name])
        # Not for ever more.
        while len(self.images) > 25:
            name = self.dice.choice([name for name in self.images if name not in ("base:1", "timed:1")])
            self.call("rmi", name)
            del self.images[name]

    def verify_export(self, name, identity):
        process = self.start(["export", name])
        out, err = process.communicate(timeout=SECONDS)
        digest = hashlib.sha256(out).hexdigest()
        if process.returncode or self.exports.setdefault(identity, digest) != digest:
            self.wrong.append("export of %s: exit status %d, digest %s, was %s: %s" % (
                name, process.returncode, digest, self.exports.get(identity), err.decode()[-300:]))


def main():
    plyfs, directory, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.makedirs(directory, exist_ok=True)
    crash = Crash(plyfs, os.path.realpath(directory), seed)
    crash.set_up()
    if crash.wrong:
        sys.exit("cannot begin: " + "; ".join(crash.wrong))
    failed = killed = 0
    for number in range(rounds):
        killed += crash.round()
        if crash.wrong:
            failed += 1
            print("FAILED  round %d (seed %d)" % (number, seed))
            for sentence in crash.wrong:
                print("        %s" % sentence)
            crash.wrong.clear()
            sys.stdout.flush()
    for name, identity in sorted(crash.images.items()):
        crash.verify_export(name, identity)
    crash.call("fsck")
    for sentence in crash.wrong:
        print("FAILED  at the end: %s" % sentence)
    failed += bool(crash.wrong)
    print("%d commands killed: %d passed, %d failed, 0 skipped" % (killed, rounds - min(failed, rounds), failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
