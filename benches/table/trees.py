"""The trees that are measured: made once a run, by the same rules everywhere, and never written afterwards."""

import glob
import os
import re
import shutil
import subprocess
import sys

from machine import Failure, run

QUICK = {"files": 2000, "mebibytes": 16, "large_mebibytes": 32, "create": 500, "calls": 1000, "append": 100, "many": 2000,
         "huge": 20_000, "wide": 5000, "seconds": 3, "sources": 6, "layer_directories": 4, "layer_files": 2, "mounts": 2}
FULL = {"files": 10_000, "mebibytes": 256, "large_mebibytes": 1024, "create": 5_000, "calls": 20_000, "append": 1000,
        "many": 50_000, "huge": 1_000_000, "wide": 200_000, "seconds": 3, "sources": 100, "layer_directories": 10,
        "layer_files": 2, "mounts": 5}
FILES_PER_DIRECTORY = 20
SMALL_FILE = 8192
PYTHON_LIBRARY = "/usr/lib/python%d.%d" % sys.version_info[:2]

HEADER = """#ifndef PART{n}_H
#define PART{n}_H
#include <stdint.h>
struct part{n} {{ uint64_t sum; uint32_t words[{size}]; struct part{n} *next; }};
uint64_t part{n}(struct part{n} *part, uint64_t seed);
static inline uint64_t mix{n}(uint64_t a, uint64_t b) {{ return (a ^ (b << {shift})) * 0x9E3779B97F4A7C15u; }}
#endif
"""
SOURCE = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{includes}
{functions}
uint64_t part{n}(struct part{n} *part, uint64_t seed)
{{
    memset(part->words, (int)(seed & 0xff), sizeof part->words);
    part->sum = mix{n}(seed, {n});
{calls}
    return part->sum;
}}
"""
FUNCTION = """static uint64_t step{n}_{k}(struct part{n} *part, uint64_t seed)
{{
    for (size_t i = 0; i < sizeof part->words / sizeof part->words[0]; i++) {{
        seed = mix{n}(seed, part->words[i] + {k});
        switch (seed % 7) {{
        case 0: part->words[i] ^= (uint32_t)seed; break;
        case 1: part->words[i] += (uint32_t)(seed >> 7); break;
        case 2: part->words[i] = part->words[(i + {k}) % {size}]; break;
        default: part->words[i] -= {k}; break;
        }}
    }}
    return seed;
}}
"""
MAKEFILE = """OBJECTS := $(patsubst src/%.c,out/%.o,$(wildcard src/*.c))
out/program: $(OBJECTS)
\t$(CC) -o $@ $^
out/%.o: src/%.c $(wildcard include/*.h)
\t@mkdir -p out
\t$(CC) -O1 -Iinclude -c -o $@ $<
"""


class Trees:
    """Makes each tree when it is first asked for. `layers` is the directory of all of them."""

    def __init__(self, layers, sizes, client):
        self.layers, self.sizes, self.client = layers, sizes, client
        self.made = {}
        os.makedirs(layers, exist_ok=True)

    def path(self, name):
        """Where a tree lies."""
        return os.path.join(self.layers, name)

    def list(self, name):
        """The list of the files of a tree."""
        return self.path(name + ".list")

    def get(self, name):
        """Makes the tree of that name, if it is not there yet; returns how many entries it has."""
        if name not in self.made:
            make = getattr(self, "make_" + name.replace("-", "_"))
            os.makedirs(self.path(name), exist_ok=True)
            make(self.path(name))
            self.made[name] = self.entries(name)
        return self.made[name]

    def entries(self, name):
        """How many entries there are below it."""
        return int(run([self.client, "list", self.path(name)]).split()[1])

    def make_base(self, path):
        """Small files of up to 8 KiB, 20 to a directory."""
        self.client_tree(path, self.sizes["files"], FILES_PER_DIRECTORY, SMALL_FILE, self.list("base"))
        self.few("base", self.sizes["append"])
        run(["tar", "-C", path, "-cf", self.path("base.tar"), "."])

    def few(self, name, count):
        """A shorter list: every so many names of the whole."""
        with open(self.list(name), encoding="ascii") as file:
            names = file.read().split()
        step = max(1, len(names) // count)
        with open(self.list(name + "-few"), "w", encoding="ascii") as file:
            file.write("".join(line + "\n" for line in names[::step][:count]))

    def make_data(self, path):
        """One file for reading."""
        run([self.client, "make-file", path, "data", str(self.sizes["mebibytes"] << 20)])

    def make_large(self, path):
        """One file for a copy-up."""
        run([self.client, "make-file", path, "large", str(self.sizes["large_mebibytes"] << 20)])
        with open(self.list("large"), "w", encoding="ascii") as file:
            file.write("large\n")

    def make_empty(self, path):
        """For rows that only make new files; a lower with one file."""
        run([self.client, "make-file", path, "file", "4096"])

    def make_many(self, path):
        """Empty files."""
        self.client_tree(path, self.sizes["many"], FILES_PER_DIRECTORY, 0)

    def make_huge(self, path):
        """A million empty files."""
        self.client_tree(path, self.sizes["huge"], FILES_PER_DIRECTORY, 0)

    def make_wide(self, path):
        """All in one directory."""
        self.client_tree(path, self.sizes["wide"], self.sizes["wide"], 0)

    def make_wide_tenth(self, path):
        """A tenth of it."""
        self.client_tree(path, self.sizes["wide"] // 10, self.sizes["wide"] // 10, 0)

    def client_tree(self, path, files, each, size, *more):
        """A tree as bench-client makes it."""
        run([self.client, "make-tree", path, str(files), str(each), str(size), *more])

    def make_project(self, path):
        """A C project: each source includes ten headers."""
        count = self.sizes["sources"]
        for part in ("src", "include"):
            os.makedirs(os.path.join(path, part))
        for n in range(count):
            size = 50 + n % 17
            write(path, "include/part%d.h" % n, HEADER.format(n=n, size=size, shift=n % 30 + 1))
            includes = "\n".join('#include "part%d.h"' % ((n + k) % count) for k in range(min(10, count)))
            functions = "\n".join(FUNCTION.format(n=n, k=k, size=size) for k in range(1, 11))
            calls = "\n".join("    part->sum ^= step%d_%d(part, part->sum);" % (n, k) for k in range(1, 11))
            write(path, "src/part%d.c" % n, SOURCE.format(n=n, includes=includes, functions=functions, calls=calls))
        declared = "\n".join("    { static struct part%d part; sum ^= part%d(&part, sum); }" % (n, n) for n in range(count))
        includes = "\n".join('#include "part%d.h"' % n for n in range(count))
        write(path, "src/main.c", "#include <stdio.h>\n%s\nint main(void)\n{\n    uint64_t sum = 1;\n%s\n"
                                  "    return printf(\"%%llx\\n\", (unsigned long long)sum) < 0;\n}\n" % (includes, declared))
        write(path, "Makefile", MAKEFILE)

    def make_python(self, path):
        """Python's library, where PYTHONHOME finds it."""
        if not os.path.isdir(os.path.join(PYTHON_LIBRARY, "asyncio")):
            raise Failure("%s has no library of Python" % PYTHON_LIBRARY)
        target = os.path.join(path, "lib", os.path.basename(PYTHON_LIBRARY))
        shutil.copytree(PYTHON_LIBRARY, target, ignore=shutil.ignore_patterns("dist-packages", "site-packages", "test"))

    def make_shell(self, path):
        """A root file system just large enough for sh(1) and head(1) in a UTF-8 locale: this machine's own files."""
        wanted = [shutil.which("sh"), shutil.which("head"), "/etc/ld.so.cache"]
        for program in wanted[:2]:
            libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
            wanted += re.findall(r"(/\S+) \(0x", libraries)
        for top, _, names in os.walk("/usr/lib/locale/C.utf8"):
            wanted += [os.path.join(top, name) for name in names]
        wanted += glob.glob("/usr/lib/*/gconv/gconv-modules.cache")
        for file in wanted:
            target = path + os.path.abspath(file)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(file, target)
        os.makedirs(os.path.join(path, "tmp"))
        write(path, "zeros", "\0" * 20000)

    def layer_stack(self, count):
        """So many layers over one another, `s0` the topmost: the same directories in all of them, files in each."""
        for n in range(count):
            for d in range(self.sizes["layer_directories"]):
                directory = os.path.join(self.path("s%d" % n), "d%d" % d)
                if not os.path.isdir(directory):
                    os.makedirs(directory)
                    for f in range(self.sizes["layer_files"]):
                        write(directory, "f%d-%d" % (n, f), "layer %d\n" % n)
        merged = "merged-%d" % count
        if merged not in self.made:
            for n in range(count):
                shutil.copytree(self.path("s%d" % n), self.path(merged), dirs_exist_ok=True)
            self.made[merged] = self.entries(merged)
        return merged, ["s%d" % n for n in range(count)]


def write(directory, name, text):
    """A small text file."""
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        file.write(text)
