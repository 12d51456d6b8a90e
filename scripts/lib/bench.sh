# shellcheck shell=bash
# What the benchmarks share: rows of results, medians, and targets as ratios. Sourced after scripts/lib/images.sh.

# begin_results: an empty table, $RESULTS: lines of a name and numbers.
begin_results() {
    RESULTS=$TMP/results
    : >"$RESULTS"
}

# median NAME COLUMN
median() {
    awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$RESULTS" | sort -n |
        awk '{ all[NR] = $1 } END { if (NR) print all[int((NR + 1) / 2)] }'
}

met=0 missed=0
# target TEXT NAME COLUMN FACTOR PEER: NAME must take at most FACTOR times what PEER takes; a number is a limit itself.
target() {
    local ours theirs ratio
    ours=$(median "$2" "$3")
    case $5 in
    [0-9]*) theirs=$5 ;;
    *) theirs=$(median "$5" "$3") ;;
    esac
    if [ -z "$ours" ]; then
        say "missed  $1: $2 was not measured"
        missed=$((missed + 1))
        return
    fi
    if [ -z "$theirs" ]; then
        say "skipped $1: no $5"
        skipped=$((skipped + 1))
        return
    fi
    ratio=$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.3f", (b > 0 ? a / b : 99) }')
    if awk -v r="$ratio" -v f="$4" 'BEGIN { exit !(r <= f) }'; then
        say "met     $1: $ours against $theirs, ratio $ratio (at most $4)"
        met=$((met + 1))
    else
        say "missed  $1: $ours against $theirs, ratio $ratio (at most $4)"
        missed=$((missed + 1))
    fi
}

# end_targets NAME [REMARK]: the last line; a missed target is a failure.
end_targets() {
    # shellcheck disable=SC2034 # end looks at them
    passed=$met failed=$missed
    end "$@"
}
