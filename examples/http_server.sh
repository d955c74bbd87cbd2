#!/bin/bash
# SPDX-License-Identifier: MIT
#
# examples/http_server.sh DIR: tests the http_server that was built there, with wrk and with http_load, and looks at
# what it has logged. XCTX_TEST_SCALE, if set, divides the number of connections.
set -uo pipefail
cd "$(dirname "$0")" || exit 1

dir=$1
scale=${XCTX_TEST_SCALE:-1}
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$tmp"' EXIT

fail() {
    echo "http_server.sh: $*" >&2
    exit 1
}

start_server() {
    : >"$tmp/server"
    "$dir/http_server" -p 0 "$@" >"$tmp/server" &
    server=$!
    for ((tries = 0; tries < 100; tries++)); do
        port=$(sed -n 's/^listening at .*://p' "$tmp/server")
        [ -z "$port" ] || return 0
        sleep 0.1
    done
    fail "the server does not start"
}

# The server was told to end. Says that it has not lost a fiber, and seen no wrong id, by its exit status.
await_server() {
    local status
    wait "$server"
    status=$?
    server=
    tail -n +2 "$tmp/server"
    [ $status = 0 ] || fail "the server's exit status is $status"
}

command -v wrk >/dev/null || fail "no wrk: scripts/setup check installs it"
start_server -t 2
for connections in 10 $((1000 / scale + 1)); do
    echo "wrk, $connections connections:"
    output=$(wrk -t 1 -c "$connections" -d 1 -s http_server.lua "http://127.0.0.1:$port/") || fail "wrk: $output"
    grep -E '[1-9][0-9]* responses, 0 wrong,' <<<"$output" || fail "wrong responses: $output"
done
kill -TERM "$server"
await_server

connections=$((24000 / scale)) rounds=2
start_server -t 3 -d 2500 -l "$tmp/log"
timeout 50 "$dir/http_load" "$port" $connections $rounds "$server" | tee "$tmp/load" || fail "http_load has failed"
await_server

# Requests of one id: their lines are those of one path, in order, and have one peer; that of no other connection.
reached=$(sed -n 's/^\([0-9]*\) connections in .*/\1/p' "$tmp/load")
awk -v requests=$((reached * rounds)) '
    function wrong(what) { print "wrong in the log: " what; failed = 1; exit 1 }
    $1 !~ /^id=/ || $2 !~ /^peer=/ { wrong($0) }
    $1 !~ /^id=c[0-9]+-r[0-9]+$/ { next }
    {
        id = $1
        connection = $1
        sub(/-r.*/, "", connection)
        if (!(connection in peer)) {
            if ($2 in owner)
                wrong($2 " of " owner[$2] " and " connection)
            peer[connection] = $2
            owner[$2] = connection
        }
        if (peer[connection] != $2)
            wrong($0 ", but " peer[connection])
        line = $0
        sub(/^[^ ]* [^ ]* /, "", line)
        sub(/thread [0-9]+/, "thread", line)
        lines[id] = lines[id] line "; "
    }
    END {
        if (failed)
            exit 1
        right["GET /; responded 200; "]
        right["GET /lost; responded 404; "]
        right["GET /hop; leaving thread; now on thread; responded 200; "]
        right["GET /slow/20; asking the backend; the backend has answered; responded 200; "]
        for (id in lines) {
            if (!(lines[id] in right))
                wrong(id " " lines[id])
            count++
        }
        if (count != requests)
            wrong(count " requests instead of " requests)
        print count " requests have their own lines in the log, and no others"
    }' "$tmp/log" || fail "see above"
