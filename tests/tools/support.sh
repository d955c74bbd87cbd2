# SPDX-License-Identifier: MIT
#
# What tests of the command share; sourced with the path of the command in $1. A test is between `begin NAME` and `end`,
# which writes "ok NAME" or "not ok NAME: WHY".
set -uo pipefail
xctx=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
work=$(mktemp -d)
children=()
failures=0
name=

finish() {
    local child
    for child in ${children[@]+"${children[@]}"}; do
        kill -9 "$child" 2>/dev/null
    done
    rm -rf "$work"
}
trap finish EXIT

begin() {
    name=$1
    why=
}

# is WHAT WANTED ACTUAL
is() {
    [ "$2" = "$3" ] || why+="$1 is '$3', not '$2'; "
}

# has WHAT PATTERN TEXT: the text has a line that matches the extended regular expression.
has() {
    grep -Eq -- "$2" <<<"$3" || why+="$1 has no '$2'; "
}

# has_not WHAT PATTERN TEXT
has_not() {
    ! grep -Eq -- "$2" <<<"$3" || why+="$1 has '$2'; "
}

end() {
    if [ -z "$why" ]; then
        echo "ok $name"
    else
        echo "not ok $name: ${why//$'\n'/ | }"
        failures=$((failures + 1))
    fi
}

skip() {
    echo "ok $name # SKIP $1"
}

# call ARGUMENT...: runs the command; sets output, errors and status.
call() {
    output=$("$xctx" "$@" 2>"$work/stderr" </dev/null)
    status=$?
    errors=$(cat "$work/stderr")
}

# build NAME [OPTION...] <SOURCE: makes $work/NAME.
build() {
    local program=$1
    shift
    cat >"$work/$program.c"
    gcc -g -O0 -pthread "$@" -o "$work/$program" "$work/$program.c"
}

# launch COMMAND...: starts a program that says "ready" in its first line, and waits for that. Its input is open until
# `release`. Sets child.
launch() {
    local line
    rm -f "$work/in" "$work/out"
    mkfifo "$work/in" "$work/out"
    "$@" <"$work/in" >"$work/out" 2>"$work/launch.stderr" &
    child=$!
    children+=("$child")
    exec 8>"$work/in" 9<"$work/out"
    line=
    read -r -t 60 line <&9
    is 'first line' ready "$line"
}

# release: ends the program's input, and waits for it. Sets status.
release() {
    exec 8>&-
    wait "$child"
    status=$?
    exec 9<&-
}
