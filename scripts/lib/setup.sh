# shellcheck shell=bash
# What every script under scripts/ shares: installing what is missing, building, mounting, cleaning up.
# Sourced, never run:  source "$(dirname "$0")/../lib/setup.sh"
#
# Environment (all optional):
#   MOUNT_PROGRAM  the mount program under test; default: plyfs-mount of this tree, built in release mode.
#                  A path to another program (fuse-overlayfs) or the word `kernel` (overlayfs of the
#                  kernel) runs the same script against a peer.
#   MOUNT_OPTIONS  extra mount options, put after lowerdir, upperdir and workdir
#   PLYFS_THREADS  how many threads read requests: becomes the mount option threads=N of plyfs
#   PLYFS_TOOLS    where crates used as tools are installed; default ~/.cache/plyfs-tools
#   PLYFS_CACHE    where downloaded or debootstrapped things are kept; default ~/.cache/plyfs-tests
#   QUICK=1        the short form of a script
#   KEEP=1         keep the temporary directory

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PLYFS_TOOLS=${PLYFS_TOOLS:-${HOME:-/root}/.cache/plyfs-tools}
PLYFS_CACHE=${PLYFS_CACHE:-${HOME:-/root}/.cache/plyfs-tests}
TARGET=${CARGO_TARGET_DIR:-$REPO/target}
SCRIPT=$(basename "$0")
QUICK=${QUICK:-}

# Exit status by which a script says that this machine cannot run it (as automake and meson do).
EXIT_SKIPPED=77

say() { printf '%s\n' "$*"; }
step() { printf '\n==> %s\n' "$*"; }
warn() { printf '%s: %s\n' "$SCRIPT" "$*" >&2; }
die() {
    warn "$*"
    exit 1
}
# The machine lacks something that cannot be installed: said loudly, counted as skipped.
skip_all() {
    printf '\n!!! SKIPPED %s: %s\n' "$SCRIPT" "$*"
    exit "$EXIT_SKIPPED"
}

# usage: print the comment at the head of the running script.
usage() { sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p}}' "$0"; }

need_root() { [ "$(id -u)" = 0 ] || skip_all "needs root"; }

need_fuse() {
    [ -c /dev/fuse ] || modprobe fuse 2>/dev/null || true
    [ -c /dev/fuse ] || skip_all "needs /dev/fuse"
}

# open_fuse: ordinary users may use the device until the script ends, as udev would let them.
open_fuse() {
    local mode
    mode=$(stat -c %a /dev/fuse)
    [ "$mode" != 666 ] || return 0
    at_exit chmod "$mode" /dev/fuse
    chmod 666 /dev/fuse
}

# ---- cleanup -------------------------------------------------------------------------------------

AT_EXIT=()
# at_exit COMMAND...: run at the end of the script, last registered first, whatever happened.
at_exit() { AT_EXIT+=("$(printf '%q ' "$@")"); }

# Called by the trap only.
# shellcheck disable=SC2317
run_at_exit() {
    local status=$? i
    trap - EXIT INT TERM HUP
    set +e
    for ((i = ${#AT_EXIT[@]} - 1; i >= 0; i--)); do eval "${AT_EXIT[i]}"; done
    exit "$status"
}
trap run_at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# make_temp: sets TMP to a fresh directory that goes away at the end. By default on /var/tmp, as an
# upper directory wants a real file system and /tmp is often a tmpfs.
make_temp() {
    TMP=$(mktemp -d "${TMPDIR:-/var/tmp}/plyfs-$SCRIPT.XXXXXX")
    chmod 755 "$TMP"
    at_exit remove_temp "$TMP"
}

# shellcheck disable=SC2317
remove_temp() {
    unmount_below "$1"
    if [ -n "${KEEP:-}" ]; then
        say "kept: $1"
    else
        # Never cross into something that is still mounted.
        rm -rf --one-file-system -- "$1"
    fi
}

# unmount_below DIR: unmount everything mounted at or below DIR, deepest first.
unmount_below() {
    local point
    awk -v dir="$1" '$5 == dir || index($5, dir "/") == 1 { print $5 }' /proc/self/mountinfo |
        tac | while read -r point; do
        umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || true
    done
}

# ---- installing ----------------------------------------------------------------------------------

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# need_apt PACKAGE...: install what is missing; skips the script where that is not possible.
need_apt() {
    local missing=() package
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    command -v apt-get >/dev/null || skip_all "needs ${missing[*]}, and there is no apt-get to install it"
    say "installing ${missing[*]}"
    apt_install "${missing[@]}" >/dev/null 2>&1 || {
        as_root apt-get update -qq >/dev/null 2>&1 || true
        apt_install "${missing[@]}" >/dev/null || skip_all "cannot install ${missing[*]}"
    }
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

need_rust() {
    command -v cargo >/dev/null || { [ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH; } ||
        die "cargo is missing: plyfs needs Rust $(sed -n 's/^rust-version = //p' "$REPO/Cargo.toml") or newer"
    need_apt gcc libc6-dev
}

# need_cargo CRATE VERSION BINARY: install a binary crate as a tool; its directory comes first in PATH.
need_cargo() {
    local crate=$1 version=$2 binary=$3
    PATH=$PLYFS_TOOLS/bin:$PATH
    if [ -x "$PLYFS_TOOLS/bin/$binary" ] &&
        grep -qs "\"$crate $version " "$PLYFS_TOOLS/.crates.toml"; then
        return 0
    fi
    need_rust
    say "installing $crate $version into $PLYFS_TOOLS"
    # Outside the tree, so that the tool is not built by the tree's rust-toolchain or into its target directory.
    (cd / && env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$PLYFS_TOOLS" "$crate@$version") ||
        skip_all "cannot install $crate $version"
}

# ---- building ------------------------------------------------------------------------------------

# build_release: both binaries, once. Sets PLYFS and PLYFS_MOUNT. Scripts that call others export
# PLYFS_BUILT=1, so that one run builds once.
build_release() {
    PLYFS=$TARGET/release/plyfs
    PLYFS_MOUNT=$TARGET/release/plyfs-mount
    [ -n "${PLYFS_BUILT:-}" ] && [ -x "$PLYFS" ] && [ -x "$PLYFS_MOUNT" ] && return 0
    need_rust
    (cd "$REPO" && cargo build --quiet --release --workspace --bins) || die "the build failed"
    export PLYFS_BUILT=1
}

# build_client CRATE: one of the programs in conformance/, which are no members of the workspace. It is then in
# $TARGET/conformance/release.
build_client() {
    need_rust
    cargo build --quiet --release --locked --manifest-path "$REPO/conformance/$1/Cargo.toml" \
        --target-dir "$TARGET/conformance" || die "the build of $1 failed"
}

# ---- mounting ------------------------------------------------------------------------------------

# choose_program: settle which mount program is under test; sets PROGRAM and PROGRAM_NAME.
choose_program() {
    PROGRAM=${MOUNT_PROGRAM:-}
    if [ -z "$PROGRAM" ]; then
        build_release
        PROGRAM=$PLYFS_MOUNT
    fi
    if [ "$PROGRAM" = kernel ]; then
        PROGRAM_NAME="overlayfs of the kernel"
    else
        need_fuse
        PROGRAM=$(command -v "$PROGRAM") || die "no such mount program: $MOUNT_PROGRAM"
        PROGRAM_NAME=$(basename "$PROGRAM")
        need_apt fuse3
    fi
    if is_plyfs && [ -n "${PLYFS_THREADS:-}" ]; then
        MOUNT_OPTIONS=${MOUNT_OPTIONS:+$MOUNT_OPTIONS,}threads=$PLYFS_THREADS
        PROGRAM_NAME+=" with threads=$PLYFS_THREADS"
        unset PLYFS_THREADS
    fi
}

is_plyfs() { case $(basename "$PROGRAM") in plyfs-mount | mount.*plyfs) true ;; *) false ;; esac }

# io_ways: the values of io= to run with; `-` for a peer, which has no such option.
io_ways() { if is_plyfs; then echo passthrough cached; else echo -; fi; }

# io_option WAY: the mount option for it, with a leading comma, or nothing.
io_option() { if [ "$1" != - ]; then echo ",io=$1"; fi; }

# mount_union OPTIONS MERGED: mount with the program under test.
mount_union() {
    local options=$1${MOUNT_OPTIONS:+,$MOUNT_OPTIONS} merged=$2
    if [ "$PROGRAM" = kernel ]; then
        mount -t overlay overlay -o "$options" "$merged"
    else
        "$PROGRAM" -o "$options" "$merged" </dev/null
    fi
    mountpoint -q "$merged" || die "$PROGRAM_NAME did not mount $merged"
}

# daemons_of MERGED: the processes that serve it; none for the kernel's overlayfs. Found by their command line, as they
# daemonised: argument 0 is our program, the last one is the mount point. (plyfs forks a watcher, which ends with it.)
daemons_of() {
    local dir arguments
    [ "$PROGRAM" = kernel ] && return 0
    for dir in /proc/[0-9]*; do
        # A process may end between the listing and the reading.
        { mapfile -d '' -t arguments <"$dir/cmdline"; } 2>/dev/null || continue
        [ ${#arguments[@]} -ge 2 ] || continue
        if [ "$(basename -- "${arguments[0]}")" = "$(basename -- "$PROGRAM")" ] &&
            [ "${arguments[-1]}" = "$1" ]; then
            basename "$dir"
        fi
    done
}

# daemon_of MERGED: of those, the one that answers requests: it is the parent of the others.
daemon_of() {
    local pids pid parent
    pids=$(daemons_of "$1")
    for pid in $pids; do
        parent=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
        grep -qx "$parent" <<<"$pids" || echo "$pid"
    done
}

# is_running PID: not if it only waits to be reaped, for which some init processes take seconds.
is_running() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    case ${stat##*) } in Z* | X*) return 1 ;; esac
}

# unmount_union MERGED: unmount, and wait until the daemon has gone, since it may still write to the work directory.
unmount_union() {
    local merged=$1 pid n
    pid=$(daemons_of "$merged")
    for n in 1 2 3 4 5 6 7 8 9 10; do
        umount "$merged" 2>/dev/null && break
        [ "$n" = 10 ] && die "cannot unmount $merged"
        sleep 0.2
    done
    for pid in $pid; do
        for ((n = 0; n < 100; n++)); do
            is_running "$pid" || break
            sleep 0.05
        done
        is_running "$pid" && die "the daemon (process $pid) outlived its mount by 5 s"
    done
    return 0
}
