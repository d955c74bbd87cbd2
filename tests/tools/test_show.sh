#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/tools/test_show.sh XCTX: does `xctx show` show core files, of gdb too, and say what is wrong with others.
# shellcheck source=tests/tools/support.sh
source "$(dirname "$0")/support.sh"

build program <<'C'
#include <stdio.h>
#include <unistd.h>

struct point {
    int x, y;
};

__attribute__((noinline)) static int hold(const char *title, struct point point)
{
    char line[16];
    double ratio = 0.5;
    puts("ready");
    fflush(stdout);
    while (read(0, line, sizeof(line)) > 0)
        ;
    return title[0] + point.x + (int)ratio;
}

int main(void)
{
    struct point point = {3, -4};
    return hold("a title", point) & 1;
}
C

begin 'help: says how'
call show --help
is status 0 "$status"
has output '^usage: xctx show' "$output"
end

begin 'no such file: an error'
call show /no/such/file
is status 1 "$status"
if [[ $errors == *'built without libdw'* ]]; then
    skip "this command was built without libdw"
    exit 0
fi
is errors 'xctx: show: /no/such/file: No such file or directory' "$errors"
end

begin 'wrong usage: an error'
call show
is status 2 "$status"
is errors 'xctx: show: no file given; try `xctx show --help`' "$errors"
call show one two
is status 2 "$status"
call show --no-such-option file
is status 2 "$status"
call show --core
is status 2 "$status"
end

begin 'a file that is no core file: an error'
call show LICENSE
is status 1 "$status"
is errors 'xctx: show: LICENSE: no ELF core file of this processor' "$errors"
call show "$work/program"
is status 1 "$status"
is errors "xctx: show: $work/program: no ELF core file of this processor" "$errors"
: >"$work/empty"
call show "$work/empty"
is status 1 "$status"
end

launch "$xctx" run "$work/program"
call dump --core="$work/core" "$child"
gdb -nx -batch -p "$child" -ex "generate-core-file $work/gdb-core" >/dev/null 2>&1
release

begin 'a core file of xctx: frames with parameters and local variables'
call show "$work/core"
is status 0 "$status"
is errors '' "$errors"
has output 'hold \(title=0x[0-9a-f]+ "a title", point=\.\.\.\)' "$output"
has output 'ratio = 0\.5' "$output"
has output 'point = \{x = 3, y = -4\}' "$output"
end

begin 'JSON: one object, the same for one thread and for all'
call show --json "$work/core"
is status 0 "$status"
is functions 'hold main' "$(python3 -c '
import json, sys
[report] = json.load(sys.stdin)["reports"]
print(*(frame["function"] for frame in report["frames"] if frame.get("function") in ("hold", "main")))
' <<<"$output" 2>&1)"
one=$output
call show --json --all-threads "$work/core"
is status 0 "$status"
is 'all threads' "$one" "$output"
end

begin 'HTML: one page'
call show --html "$work/core"
is status 0 "$status"
is pages 1 "$(grep -ic '<!doctype html>' <<<"$output")"
end

begin 'a core file of gdb: as one of xctx'
if [ -s "$work/gdb-core" ]; then
    call show "$work/gdb-core"
    is status 0 "$status"
    has output 'hold \(title=0x[0-9a-f]+ "a title", point=\.\.\.\)' "$output"
    end
else
    skip 'gdb cannot attach here'
fi

begin 'a core file that is cut off anywhere: an error or a report, never a crash'
size=$(stat -c %s "$work/core")
for part in 1 2 3 5 8 13 21 34 55 89; do
    head -c $((size * part / 100)) "$work/core" >"$work/cut"
    call show "$work/cut"
    [ "$status" = 0 ] || [ "$status" = 1 ] || is "status with $part %" '0 or 1' "$status"
    [ "$status" = 0 ] || is "lines of errors with $part %" 1 "$(grep -c '' <<<"$errors")"
done
end

begin 'another core file of it: the same report'
call show --core="$work/again" "$work/core"
is status 0 "$status"
first=$(grep -E '^#|^        ' <<<"$output")
call show "$work/again"
is status 0 "$status"
is report "$first" "$(grep -E '^#|^        ' <<<"$output")"
is mode 600 "$(stat -c %a "$work/again")"
end

begin 'another core file in place of the first: an error, and that stays as it is'
before=$(sha256sum <"$work/core")
ln -s core "$work/link"
for path in "$work/core" "$work/link"; do
    call show --core="$path" "$work/core"
    is status 1 "$status"
    is output '' "$output"
    is errors "xctx: show: $path: is the file that is shown, and stays as it is" "$errors"
done
is file "$before" "$(sha256sum <"$work/core")"
end

begin 'another core file that cannot be written: an error'
call show --core=/no/such/folder/core "$work/core"
is status 1 "$status"
is errors 'xctx: show: /no/such/folder/core: No such file or directory' "$errors"
end

# Waits in the opened file, in the process that reads it, which ends in that way.
begin 'a crash while the file is read: an error'
mkfifo "$work/pipe"
for signal in SEGV ABRT KILL XCPU; do
    "$xctx" show "$work/pipe" 2>"$work/stderr" </dev/null &
    parent=$!
    exec 7>"$work/pipe"
    kill -s "$signal" "$(cat "/proc/$parent/task/$parent/children")"
    wait "$parent"
    is "status after $signal" 1 "$?"
    exec 7>&-
    is "lines of errors after $signal" 1 "$(grep -c '' "$work/stderr")"
    has "errors after $signal" "^xctx: show: $work/pipe: .* may be damaged" "$(cat "$work/stderr")"
done
end

[ $failures = 0 ]
