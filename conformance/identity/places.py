"""Files that are found again whatever the marks of a copy say, and what an ordinary user may do."""

import os
import subprocess

from registry import check
from union import NOBODY, System, Union, file, set_user

USES = {
    "file": "cat {0} && echo more >>{0} && cat {0}",
    "link": "readlink {0}",
    "fifo": "test -p {0} && exec 3<>{0} && echo through >&3 && read -r word <&3 && echo $word",
    "hard": "cat {0}",
}
RIGHT = {"file": "text text more", "link": "target", "fifo": "through", "hard": "shared"}


def lay_kinds(owner=0):
    """A layer with a file of each kind."""
    def lay(lower):
        file(lower, "file", "text\n", owner=owner)
        file(lower, "r", "text\n", owner=owner)
        file(lower, "hard", "shared\n", owner=owner)
        os.link(os.path.join(lower, "hard"), os.path.join(lower, "hard-2"))
        os.symlink("target", os.path.join(lower, "link"))
        os.lchown(os.path.join(lower, "link"), owner, owner)
        os.mkfifo(os.path.join(lower, "fifo"))
        os.chown(os.path.join(lower, "fifo"), owner, owner)
    return lay


def shell(user, directory, script):
    """What a script prints, in one line; an error as it is told."""
    # It enters the directory as that user: root may not look into an ordinary user's mount.
    found = subprocess.run(["sh", "-c", "cd %s && %s" % (directory, script)], capture_output=True, text=True, check=False, timeout=60,
                           preexec_fn=lambda: set_user(user), env={**os.environ, "LC_ALL": "C"})
    return " ".join((found.stdout + found.stderr).split())


def rename_twice(union, user=0):
    """Each kind is renamed twice, then used; a hard link to it is of the same type and no whiteout."""
    found = {}
    for kind, use in USES.items():
        script = "mv {0} {0}-a && mv {0}-a {0}-b && ".format(kind) + use.format(kind + "-b")
        found[kind] = shell(user, union.merged, script)
        linked = shell(user, union.merged, "ln -P {0}-b {0}-c && stat -c %F {0}-b {0}-c | uniq | wc -l".format(kind))
        found[kind] += "" if linked == "1" else "; its link: " + linked
    found["after chmod"] = shell(user, union.merged, "chmod 600 r && mv r x && cat x")
    return found


TWICE = {**RIGHT, "after chmod": "text"}


@check(TWICE)
def renamed_twice(system, directory):
    """As root: the marks of the copies lead back."""
    with Union(system, directory, lay_kinds()) as union:
        return rename_twice(union)


@check(TWICE)
def renamed_twice_with_userxattr(system, directory):
    """Symbolic links and FIFOs cannot hold marks of `user.`."""
    with Union(system, directory, lay_kinds(), "userxattr") as union:
        return rename_twice(union)


@check(TWICE)
def renamed_twice_by_an_ordinary_user(system, directory):
    """A mount of the user's own, through fusermount3."""
    if system.is_kernel:
        with Union(system, directory, lay_kinds(NOBODY), "userxattr", NOBODY) as union:
            return rename_twice(union, NOBODY)
    if system.way == "passthrough":
        return "skipped: an ordinary user has no passthrough"
    with Union(system, directory, lay_kinds(NOBODY), "", NOBODY) as union:
        return rename_twice(union, NOBODY)


def on_another(kind):
    """The lower lies on a file system of this kind."""
    def play(system, directory):
        base = directory + "-" + kind
        place = os.path.join(base, "place")
        os.makedirs(place, exist_ok=True)
        below = None
        try:
            if kind in ("tmpfs", "ramfs"):
                mount(["-t", kind, kind, place])
            elif kind == "overlay":
                below = Union(System("kernel", ""), os.path.join(base, "inner"), lay_kinds())
            else:
                if system.is_kernel:
                    return "skipped: nothing to serve the layer"
                below = Union(System(system.program, "cached"), os.path.join(base, "inner"), lay_kinds())
            lower = below.merged if below else place
            with Union(system, directory, (lambda _: None) if below else lay_kinds(), lower=lower) as union:
                return rename_twice(union)
        except OSError as error:
            if kind in ("tmpfs", "ramfs") and "mount" in str(error) and not below:
                return "skipped: %s" % error
            raise
        finally:
            if below:
                below.unmount()
            subprocess.call(["umount", place], stderr=subprocess.DEVNULL)
            subprocess.call(["rm", "-rf", "--one-file-system", base])
    play.__name__ = "renamed_twice_where_the_lower_lies_on_" + kind
    return check(TWICE)(play)


def mount(arguments):
    """mount(8)."""
    found = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if found.returncode:
        raise OSError("mount: " + found.stderr.strip())


for _kind in ("tmpfs", "ramfs", "overlay", "fuse"):
    on_another(_kind)


@check({"chmod 0 and mv": "b", "mkdir -m 0 and rmdir": "gone", "chmod 0 of a lower's": "y", "chmod 0 of a lower's, link": "2"})
def without_permissions_a_user_renames_what_is_theirs(system, directory):
    """Renaming and removing need none on the file itself."""
    def lay(lower):
        file(lower, "low", "x", owner=NOBODY)
        file(lower, "low-2", "x", owner=NOBODY)
    if system.way == "passthrough":
        return "skipped: an ordinary user has no passthrough"
    with Union(system, directory, lay, "userxattr" if system.is_kernel else "", NOBODY) as union:
        def as_user(script):
            return shell(NOBODY, union.merged, script)
        return {"chmod 0 and mv": as_user("touch a && chmod 0 a && mv a b && ls b"),
                "mkdir -m 0 and rmdir": as_user("mkdir -m 0 z && rmdir z && echo gone"),
                "chmod 0 of a lower's": as_user("chmod 0 low && mv low y && ls y"),
                "chmod 0 of a lower's, link": as_user("chmod 0 low-2 && chmod 600 low-2 && ln low-2 l && chmod 0 l && stat -c %h l")}

