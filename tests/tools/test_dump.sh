#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/tools/test_dump.sh XCTX: does `xctx dump` show what each thread of a program does, and where it was created,
# while the program goes on.
# shellcheck source=tests/tools/support.sh
source "$(dirname "$0")/support.sh"

build program <<'C'
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static pthread_barrier_t started;
static int channel[2];

__attribute__((noinline)) static long wait_for_byte(int depth)
{
    char byte = 0;
    if (depth > 0)
        return wait_for_byte(depth - 1) + 1;
    pthread_barrier_wait(&started);
    return read(channel[0], &byte, 1);
}

static void *reader(void *arg)
{
    int depth = *(int *)arg;
    return (void *)wait_for_byte(depth);
}

static void *deaf(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    return reader(arg);
}

__attribute__((noinline)) static void create_workers(pthread_t threads[2], int *depth, int with_deaf)
{
    const char *purpose = "the reader";
    if (pthread_create(&threads[0], NULL, reader, depth) != 0)
        purpose = NULL;
    if (with_deaf && pthread_create(&threads[1], NULL, deaf, depth) != 0)
        purpose = NULL;
    if (!purpose)
        _exit(3);
}

int main(int argc, char *argv[])
{
    pthread_t threads[2];
    int depth = 2, with_deaf = argc > 1;
    char line[16];
    (void)argv;
    if (pipe(channel) || pthread_barrier_init(&started, NULL, 2 + with_deaf))
        return 1;
    create_workers(threads, &depth, with_deaf);
    pthread_barrier_wait(&started);
    puts("ready");
    fflush(stdout);
    while (read(0, line, sizeof(line)) > 0)
        ;
    if (write(channel[1], "ab", 2) != 2)
        return 1;
    for (int i = 0; i < 1 + with_deaf; i++)
        pthread_join(threads[i], NULL);
    return 9;
}
C

begin 'help: says how'
call dump --help
is status 0 "$status"
has output '^usage: xctx dump' "$output"
end

begin 'a program that does not answer: an error'
call dump $$
is status 1 "$status"
if [[ $errors == *'built without libdw'* ]]; then
    skip "this command was built without libdw"
    exit 0
fi
is errors "xctx: dump: process $$ does not answer: it was not started by \`xctx run\`" "$errors"
end

begin 'no such process: an error'
sleep 0 &
ended=$!
wait $ended
call dump $ended
is status 1 "$status"
is errors "xctx: dump: there is no process $ended" "$errors"
end

begin 'a process that is stopped, and one that has ended: errors that say so'
launch "$xctx" run "$work/program"
kill -STOP "$child"
call dump --timeout=0.2 "$child"
is status 1 "$status"
is errors "xctx: dump: process $child is stopped, and does not answer until it goes on" "$errors"
kill -CONT "$child"
release
is 'exit status' 9 "$status"
python3 -c '
import os, sys
child = os.fork() or os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
print(child, flush=True)
sys.stdin.read()
' <"$work/in" >"$work/out" &
parent=$!
children+=("$parent")
exec 8>"$work/in" 9<"$work/out"
read -r -t 60 zombie <&9
call dump "$zombie"
is status 1 "$status"
is errors "xctx: dump: process $zombie has ended" "$errors"
child=$parent
release
end

begin 'wrong usage: an error'
call dump
is status 2 "$status"
is errors 'xctx: dump: no process id given; try `xctx dump --help`' "$errors"
call dump ten
is status 2 "$status"
has errors "not a process id: 'ten'" "$errors"
call dump --timeout=0 1
is status 2 "$status"
has errors "seconds: more than 0, up to 60, not '0'" "$errors"
call dump 1 2
is status 2 "$status"
end

begin 'a program: every thread with its stack and local variables'
launch "$xctx" run "$work/program"
call dump "$child"
is status 0 "$status"
is errors '' "$errors"
is threads 2 "$(grep -c '^Thread [0-9]' <<<"$output")"
has output "^#[0-9]+ +main \(argc=1" "$output"
is frames 3 "$(grep -c '^#[0-9]* *wait_for_byte (depth=[012])' <<<"$output")"
has output ' depth = 2' "$output"
end

begin 'a program that was dumped: goes on'
for _ in 1 2 3 4 5; do
    call dump "$child"
    is status 0 "$status"
done
release
is 'exit status' 9 "$status"
is 'its errors' '' "$(cat "$work/launch.stderr")"
end

begin 'a program run with --capture: each thread with where it was created'
launch "$xctx" run --capture=locals "$work/program"
call dump "$child"
is status 0 "$status"
has output 'create_workers \(threads=0x[0-9a-f]+, depth=0x[0-9a-f]+, with_deaf=0\)' "$output"
has output 'purpose = 0x[0-9a-f]+ "the reader"' "$output"
release
end

begin 'JSON: one object with a report of each thread, as the schema says'
launch "$xctx" run --capture=locals "$work/program"
call dump --json "$child"
is status 0 "$status"
is threads 'reader main' "$(python3 -c '
import json, sys
whole = json.load(sys.stdin)
assert whole["version"] == 1
names = [[frame.get("function") for frame in report["frames"]] for report in whole["reports"]]
assert len(names) == 2
print(*(next(name for name in frames if name in ("main", "reader")) for frames in sorted(names, key=len, reverse=True)))
' <<<"$output" 2>&1)"
printf '%s\n' "$output" >"$work/json"
problems=$(python3 tests/tools/check_report_schema.py docs/report-schema.json "$work/json" 2>&1)
case $? in
0 | 77) ;;
*) is schema '' "$problems" ;;
esac
release
end

begin 'HTML: one page with both threads'
launch "$xctx" run "$work/program"
call dump --html "$child"
is status 0 "$status"
is pages 1 "$(grep -ic '<!doctype html>' <<<"$output")"
has page 'wait_for_byte' "$output"
has page '>main<' "$output"
printf '%s\n' "$output" >"$work/page"
is problems '' "$(python3 tests/tools/check_page.py "$work/page" 2>&1)"
release
end

begin 'a core file: is kept for its owner alone, and opens in gdb and with xctx show'
launch "$xctx" run "$work/program"
call dump --core="$work/core" "$child"
is status 0 "$status"
release
is mode 600 "$(stat -c %a "$work/core")"
call show "$work/core"
is status 0 "$status"
has output ' main \(argc=1' "$output"
call show --all-threads "$work/core"
is threads 2 "$(grep -c '^Thread [0-9]' <<<"$output")"
if command -v gdb >/dev/null; then
    backtrace=$(gdb -nx -batch -ex 'thread apply all backtrace' "$work/program" "$work/core" 2>/dev/null)
    has backtrace 'wait_for_byte \(depth=2\)' "$backtrace"
    has backtrace 'main \(argc=1' "$backtrace"
fi
end

build secrets <<'C'
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the library that `xctx run` puts into the program. */
extern int xctx_redact(int what, const char *pattern) __attribute__((weak));

static pthread_barrier_t started;
static int channel[2];

/* The same in the file only if the bytes of the variables are. */
static void fill(volatile char *text, char first)
{
    for (int i = 0; i < 15; i++)
        text[i] = (char)(first + i);
    text[15] = 0;
}

static void *work(void *arg)
{
    char password[16], plain[16], byte;
    fill(password, 'A');
    fill(plain, 'a');
    pthread_barrier_wait(&started);
    if (read(channel[0], &byte, 1) != 1)
        arg = password;
    return arg && plain[0] && password[0] ? arg : NULL;
}

int main(void)
{
    pthread_t thread;
    char line[16];
    if (!xctx_redact || xctx_redact(0, "password") || pipe(channel) || pthread_barrier_init(&started, NULL, 2) ||
        pthread_create(&thread, NULL, work, NULL))
        return 1;
    pthread_barrier_wait(&started);
    puts("ready");
    fflush(stdout);
    while (read(0, line, sizeof(line)) > 0)
        ;
    return write(channel[1], "a", 1) != 1 || pthread_join(thread, NULL);
}
C

begin "a secret of another thread's: is neither in the report nor in the core file"
launch "$xctx" run --capture=locals "$work/secrets"
for option in --json --html --timeout=5; do
    call dump $option --core="$work/clean" "$child"
    is "status with $option" 0 "$status"
    has "output with $option" 'password' "$output"
    has "output with $option" 'abcdefghijklmno' "$output"
    has_not "output with $option" 'ABCDEFGHIJKLMNO' "$output"
    is "plain with $option" 1 "$(grep -c abcdefghijklmno "$work/clean")"
    is "secrets with $option" 0 "$(grep -c ABCDEFGHIJKLMNO "$work/clean")"
done
release
is 'exit status' 0 "$status"
call show --all-threads "$work/clean"
is status 0 "$status"
has 'shown again' 'plain\[16\] = "abcdefghijklmno"' "$output"
has 'shown again' 'password\[16\] = .*redacted' "$output"
end

begin 'a core file that is there already: becomes private'
: >"$work/there"
chmod 644 "$work/there"
launch "$xctx" run "$work/program"
call dump --core="$work/there" "$child"
is status 0 "$status"
is mode 600 "$(stat -c %a "$work/there")"
call dump --core=/dev/full "$child"
is status 1 "$status"
is output '' "$output"
is errors 'xctx: dump: /dev/full: No space left on device' "$errors"
call dump --core=/no/such/folder/core "$child"
is status 1 "$status"
is errors 'xctx: dump: /no/such/folder/core: No such file or directory' "$errors"
release
end

begin 'output that cannot be written: an error'
launch "$xctx" run "$work/program"
for option in --json --html --timeout=5; do
    errors=$("$xctx" dump $option "$child" 2>&1 >/dev/full)
    is "status with $option" 1 $?
    is "errors with $option" 'xctx: standard output: No space left on device' "$errors"
done
release
end

begin 'a thread that blocks signals: is seen from outside, or named, and the others are shown'
launch "$xctx" run "$work/program" with-deaf
call dump "$child"
is status 0 "$status"
if grep -q '^Not shown' <<<"$output"; then
    is threads 2 "$(grep -c '^Thread [0-9]' <<<"$output")"
    has output '^Not shown, .*: thread [0-9]+\.$' "$output"
else
    is threads 3 "$(grep -c '^Thread [0-9]' <<<"$output")"
    is frames 2 "$(grep -Ec '^#[0-9]+ +wait_for_byte \(depth=(0|<[a-z -]+>)\)' <<<"$output")"
    is notes 1 "$(grep -c 'takes no signals: this was seen from outside' <<<"$output")"
fi
release
is 'exit status' 9 "$status"
end

begin 'a process that a program starts: answers, too'
launch "$xctx" run sh -c "'$work/program'; exit \$?"
inner=$(grep -l "^PPid:[[:space:]]$child$" /proc/[0-9]*/status 2>/dev/null | head -n 1 | tr -dc 0-9)
call dump "$inner"
is status 0 "$status"
has output ' main \(argc=1' "$output"
release
end

begin 'another user: is not answered'
launch "$xctx" run "$work/program"
chmod 755 "$work"
other=(setpriv --reuid=65534 --clear-groups)
if "${other[@]}" "$xctx" --version >/dev/null 2>&1; then
    errors=$("${other[@]}" "$xctx" dump "$child" 2>&1 >/dev/null)
    is status 1 $?
    is errors "xctx: dump: process $child belongs to another user" "$errors"
    end
else
    skip 'cannot become another user here'
fi
release

begin 'somebody who has taken the name of another process: is not believed'
python3 -c '
import socket, sys
taken = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
taken.bind("\0xctx/serve/1")
taken.listen()
print("ready", flush=True)
sys.stdin.read()
' <"$work/in" >"$work/out" 2>/dev/null &
child=$!
children+=("$child")
exec 8>"$work/in" 9<"$work/out"
read -r -t 60 line <&9
if [ "${line:-}" = ready ]; then
    call dump 1
    is status 1 "$status"
    is errors 'xctx: dump: process 1: another process answers in its name' "$errors"
    end
else
    skip 'the name is taken'
fi
release

[ $failures = 0 ]
