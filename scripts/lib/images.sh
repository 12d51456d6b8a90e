# shellcheck shell=bash
# What the scripts for images share: the program where an ordinary user can reach it, and that user.
# Sourced after scripts/lib/setup.sh.

# A Python without a user's own settings: root's may lie where an ordinary user cannot read.
# shellcheck disable=SC2034 # used where this is sourced
PYTHON=/usr/bin/python3
LIB=$REPO/scripts/lib

# prepare_images: builds, makes $TMP and copies the program and the helpers there.
prepare_images() {
    need_apt python3 util-linux
    build_release
    make_temp
    mkdir "$TMP/bin" "$TMP/lib"
    cp "$PLYFS" "$TMP/bin/"
    cp "$LIB"/*.py "$TMP/lib/"
    chmod -R a+rX "$TMP/bin" "$TMP/lib"
    PLYFS=$TMP/bin/plyfs
    LIB=$TMP/lib
    export PYTHONDONTWRITEBYTECODE=1
}

# users: who to run as. Root runs as root and as an ordinary user.
users() { if [ "$(id -u)" = 0 ]; then echo root nobody; else id -un; fi; }

# make_home WHO [NAME]: a directory of the user's own, $HERE.
make_home() {
    WHO=$1 HERE=$TMP/${2:-$1}
    mkdir -p "$HERE"
    if [ "$(id -u)" = 0 ]; then chown "$WHO" "$HERE"; fi
}

# own_mounts ARGUMENT...: as root, starts the script anew, with its ARGUMENTs, in a mount namespace of its own: what it
# mounts nobody else sees, and it is gone with the script, however that ends.
own_mounts() {
    [ "$(id -u)" = 0 ] && [ -z "${PLYFS_OWN_MOUNTS:-}" ] || return 0
    PLYFS_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
}

# own_fuse: as root, after own_mounts, a /dev/fuse that ordinary users may open, as udev would set it up.
own_fuse() {
    [ "$(id -u)" = 0 ] || return 0
    mknod -m 666 "$TMP/fuse" c 10 229
    mount --bind "$TMP/fuse" /dev/fuse
}

# as_who COMMAND...: run it as $WHO, with nothing that root could do.
as_who() {
    if [ "$WHO" = "$(id -un)" ]; then
        (cd "$HERE" && env HOME="$HERE" TMPDIR="$HERE" "$@")
    else
        (cd "$HERE" && setpriv --reuid "$WHO" --regid "$(id -g "$WHO")" --clear-groups --inh-caps=-all \
            --bounding-set=-all env -i PATH="/usr/bin:/bin:/usr/sbin:/sbin" HOME="$HERE" TMPDIR="$HERE" \
            PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 "$@")
    fi
}

passed=0 failed=0 skipped=0

# check TITLE COMMAND...: one counted check; a failing one shows its output. The command runs in a subshell that ends at
# the first error, for which it must not stand in a condition.
check() {
    local title="$1${WHO:+ ($WHO)}" status
    shift
    set +e
    (
        set -e
        "$@"
    ) >"$TMP/log" 2>&1
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        say "ok      $title"
        passed=$((passed + 1))
    else
        say "FAILED  $title"
        tail -"${LOG_LINES:-15}" "$TMP/log" | sed 's/^/        /'
        failed=$((failed + 1))
    fi
}

# skip TITLE WHY: a check that this machine cannot do.
skip() {
    say "SKIPPED $1${WHO:+ ($WHO)}: $2"
    skipped=$((skipped + 1))
}

# fails COMMAND...: the opposite.
fails() { ! "$@"; }

# add_counts FILE: adds what another program counted in its last line, `… N passed, N failed, N skipped`.
add_counts() {
    local ok bad skip
    read -r ok bad skip < <(tail -1 "$1" |
        sed -nE 's/.*: ([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped.*/\1 \2 \3/p'; echo)
    if [ -z "$skip" ]; then ok=0 bad=1 skip=0; fi
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

# end NAME [REMARK]: the last line and the exit status of a script.
end() {
    say "$1: $passed passed, $failed failed, $skipped skipped${2:+ ($2)}"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
