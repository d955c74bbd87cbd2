#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/tools/test_run.sh XCTX: does `xctx run` run programs as they are, and say what it cannot run.
# shellcheck source=tests/tools/support.sh
source "$(dirname "$0")/support.sh"

build threads <<'C'
#include <pthread.h>
#include <stdio.h>

static void *leaf(void *arg)
{
    return arg;
}

static void *middle(void *arg)
{
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, NULL, leaf, arg) || pthread_join(thread, &result))
        return NULL;
    pthread_exit(result);
}

int main(void)
{
    pthread_t threads[3];
    long sum = 0;
    for (long i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, middle, (void *)(i + 1)))
            return 1;
    for (int i = 0; i < 3; i++) {
        void *result;
        if (pthread_join(threads[i], &result))
            return 1;
        sum += (long)result;
    }
    printf("%ld\n", sum);
    return 40 + (int)sum;
}
C

begin 'a program: output, errors and exit status are its own'
call run -- sh -c 'echo out; echo err >&2; exit 7'
is status 7 "$status"
is output out "$output"
is errors err "$errors"
end

begin 'a program that a signal ends: so it seems'
call run -- sh -c 'kill -TERM $$'
is status 143 "$status"
end

begin "a program's options: are the program's"
call run echo --help -c x -- y
is output '--help -c x -- y' "$output"
end

begin 'a program with threads: works with every capture'
for capture in stack locals registers state fpu all stack,locals,state; do
    call run --capture=$capture "$work/threads"
    is "status with $capture" 46 "$status"
    is "output with $capture" 6 "$output"
    is "errors with $capture" '' "$errors"
done
end

begin 'an interpreter with threads and children: works'
call run --capture=all python3 -c '
import concurrent.futures, subprocess
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(lambda x: x * x, range(100))))
print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout, end="")
'
is status 0 "$status"
is output "328350
child" "$output"
is errors '' "$errors"
end

begin 'a trace: a line of JSON for each process, and for each thread that begins and ends'
call run --trace="$work/trace" "$work/threads"
is status 46 "$status"
is counts 'process 1 thread-begin 6 thread-end 6' "$(python3 - "$work/trace" <<'PY'
import collections, json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
counts = collections.Counter(event['event'] for event in events)
print(*(f'{name} {counts[name]}' for name in sorted(counts)))
begun = {event['tid']: event for event in events if event['event'] != 'thread-end'}
assert all(event['creator'] in begun for event in events if event['event'] == 'thread-begin')
assert sum(event['creator'] == event['pid'] for event in events if event['event'] == 'thread-begin') == 3
assert all(event['tid'] in begun and event['time'] >= begun[event['tid']]['time'] for event in events)
PY
)"
end

begin 'a trace with a relative name: where the command was called'
mkdir -p "$work/folder/below"
(cd "$work/folder" && "$xctx" run --trace=trace -- sh -c 'cd below; exec true')
is lines 2 "$(grep -c process "$work/folder/trace")"
end

begin 'a trace that cannot be written: an error, and nothing is run'
call run --trace=/no/such/folder/trace echo run
is status 1 "$status"
is output '' "$output"
is errors 'xctx: run: /no/such/folder/trace: No such file or directory' "$errors"
end

build crash <<'C'
#include <pthread.h>
#include <string.h>

__attribute__((noinline)) static int touch(const char *what, const int *where)
{
    return (int)strlen(what) + *where;
}

static void *work(void *arg)
{
    return (void *)(long)touch("a crash", arg);
}

int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) == 0)
        pthread_join(thread, NULL);
    return 0;
}
C

begin 'a program that crashes: a report on standard error, and a core file'
call run --crash --core="$work/core-%p" "$work/crash"
is status 139 "$status"
is output '' "$output"
has errors '^xctx: SIGSEGV at address 0x0 in thread' "$errors"
if [[ $("$xctx" show / 2>&1) != *'built without libdw'* ]]; then
    has errors '^#0  *touch \(what=0x[0-9a-f]+ "a crash", where=0x0\)' "$errors"
    call show "$work"/core-[0-9]*
    is 'status of show' 0 "$status"
    has 'core file' '^#0  *touch \(what=0x[0-9a-f]+ "a crash", where=0x0\)' "$output"
fi
end

begin 'a program that crashes without --crash: as ever'
call run "$work/crash"
is status 139 "$status"
is errors '' "$errors"
end

begin 'no such program: an error'
call run /no/such/program
is status 1 "$status"
is errors 'xctx: run: /no/such/program: No such file or directory' "$errors"
call run no-such-program
is status 1 "$status"
is errors 'xctx: run: no-such-program: No such file or directory' "$errors"
end

begin 'a program that is linked statically: an error'
echo 'int main(void) { return 0; }' | build static -static
call run "$work/static"
is status 1 "$status"
is errors "xctx: run: $work/static: linked statically: no library can be put into it" "$errors"
end

begin 'wrong usage: an error'
call run
is status 2 "$status"
is errors 'xctx: run: no program given; try `xctx run --help`' "$errors"
call run --capture=stack,nothing true
is status 2 "$status"
has errors "capture: of stack,.* not 'stack,nothing'" "$errors"
call run --no-such-option true
is status 2 "$status"
end

begin 'what is in LD_PRELOAD already: stays behind it'
output=$(LD_PRELOAD=libm.so.6 "$xctx" run sh -c 'echo "$LD_PRELOAD"')
has LD_PRELOAD '/libxctx-preload\.so:libm\.so\.6$' "$output"
end

[ $failures = 0 ]
