#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/tools/test_demo.sh XCTX: does `xctx demo` count what is in files, on their own account, and say what is wrong
# with files that it cannot take. Writes a line "ok NAME" or "not ok NAME: WHY" for each test; the exit status is 0 if
# all are ok.
# shellcheck source=tests/tools/support.sh
source "$(dirname "$0")/support.sh"

# demo ARGUMENT...: sets output, errors and status.
demo() {
    call demo "$@"
}

# Bytes, lines, words and the longest line of all these files, as the row of the summary has them without commas.
reference() {
    python3 - "$@" <<'PY'
import sys
texts = [open(name, 'rb').read() for name in sys.argv[1:]]
print(sum(map(len, texts)), sum(text.count(b'\n') for text in texts), sum(len(text.split()) for text in texts),
      max(len(line) for text in texts for line in text.split(b'\n')))
PY
}

# The same, of what the demo says in the row that begins with $1.
row() {
    printf '%s\n' "$output" | tr -d , | awk -v row="$1" '$1 == row && /[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+$/ {
        print $(NF - 3), $(NF - 2), $(NF - 1), $NF }'
}

begin 'one file: counted as it is'
demo -s files LICENSE
is status 0 "$status"
is row "$(reference LICENSE)" "$(row r-1)"
end

begin 'many files: counted as they are'
mapfile -t files < <(find include src tests -type f -name '*.[ch]')
demo -s files "${files[@]}"
is status 0 "$status"
is row "$(reference "${files[@]}")" "$(row all)"
end

begin 'files in many pieces and one line without end: counted as they are'
python3 - "$work" <<'PY'
import sys
with open(sys.argv[1] + '/large', 'w', encoding='ascii') as file:
    for i in range(400000):
        file.write(' '.join(['word'] * (i % 13)) + '\n')
with open(sys.argv[1] + '/long', 'w', encoding='ascii') as file:
    file.write('a b c\n' + 'x' * 700000 + ' y')
PY
demo -s files --threads=7 "$work/large" "$work/long"
is status 0 "$status"
is large "$(reference "$work/large")" "$(row r-1)"
is long "$(reference "$work/long")" "$(row r-2)"
end

begin 'every log line: request and file of its own piece'
demo -s files --verbose LICENSE Makefile meson.build
is pairs "r-1 LICENSE
r-2 Makefile
r-3 meson.build" "$(printf '%s\n' "$output" | awk '/ms .* words?$/ {print $3, $4}' | sort -u)"
end

begin 'a pipe: read to its end'
output=$(seq 1 50000 | "$xctx" demo -s files /dev/stdin)
seq 1 50000 >"$work/sequence"
is row "$(reference "$work/sequence")" "$(row r-1)"
end

begin 'files that cannot be taken: a line each, the others go on'
: >"$work/empty"
printf 'text\0text' >"$work/binary"
mkdir "$work/directory"
head -c 3000000 /dev/zero | tr '\0' x >"$work/endless-line"
truncate -s 1T "$work/huge"
demo -s files "$work/missing" "$work/empty" "$work/binary" LICENSE "$work/directory" "$work/endless-line" \
    "$work/huge" /dev/null "$work/"$'two\nlines'
is status 1 "$status"
is errors "xctx: $work/missing: No such file or directory
xctx: $work/directory: Is a directory
xctx: /dev/null: neither a regular file nor a pipe
xctx: $work/two?lines: No such file or directory
xctx: $work/empty: empty
xctx: $work/binary: binary, not a text
xctx: $work/endless-line: a line of more than 1 MiB: not a text
xctx: $work/huge: binary, not a text" "$errors"
is row "$(reference LICENSE)" "$(row r-3)"
end

begin 'no file that can be opened: errors, and nothing is shown'
demo "$work/missing" "$work/directory"
is status 1 "$status"
is output '' "$output"
is errors "xctx: $work/missing: No such file or directory
xctx: $work/directory: Is a directory" "$errors"
end

begin 'files that cannot be opened: errors before the first section'
"$xctx" demo "$work/missing" LICENSE >"$work/both" 2>&1 </dev/null
is first "xctx: $work/missing: No such file or directory" "$(head -n 1 "$work/both")"
end

begin 'times of the log: in order'
demo -s files --verbose --threads=8 "${files[@]}"
times=$(printf '%s\n' "$output" | awk '$1 ~ /ms$/ {sub("ms", "", $1); print $1}')
is 'enough lines' yes "$([ "$(wc -l <<<"$times")" -gt 100 ] && echo yes)"
is order "$(sort -n <<<"$times")" "$times"
end

begin 'numbers out of range: an error that names the range'
demo --threads=65
is status 2 "$status"
is errors "xctx: demo: threads: 1 to 64, not '65'; try \`xctx demo --help\`" "$errors"
end

begin 'more than can be read in time: an error'
errors=$(yes | "$xctx" demo -s files --deadline=1 /dev/stdin 2>&1 >/dev/null)
is errors 'xctx: /dev/stdin: not done within the deadline' "$errors"
end

begin 'a file that may not be read: an error'
echo text >"$work/private"
chmod 0 "$work/private"
chmod 755 "$work"
other=()
# Who may read everything has to be somebody else for this.
[ ! -r "$work/private" ] || other=(setpriv --reuid=65534 --clear-groups)
if "${other[@]}" "$xctx" --version >/dev/null 2>&1; then
    errors=$("${other[@]}" "$xctx" demo -s files "$work/private" 2>&1 >/dev/null)
    is errors "xctx: $work/private: Permission denied" "$errors"
    end
else
    echo "ok $name # SKIP cannot become another user here"
fi

begin 'no file and no README.md: a text of its own'
output=$(cd "$work" && "$xctx" demo -s files)
is status 0 $?
is named 1 "$(printf '%s\n' "$output" | grep -c 'r-1 .*a text of its own.* [0-9]*  *[0-9]*  *[0-9]*  *[0-9]*$')"
end

begin 'thread, fiber and files: within 80 columns'
for section in thread fiber files; do
    demo -s $section README.md LICENSE
    is "status of $section" 0 "$status"
    is "long of $section" '' "$(printf '%s\n' "$output" | awk 'length($0) > 80')"
done
end

# The report of one thread in the text of a report and its parents: that with $1 in its heading.
thread_of() {
    printf '%s\n' "$output" | awk -v heading="$1" '/^(Thread|Copied in thread) [0-9]/ {on = index($0, heading) == 1} on'
}

# has WHAT PATTERN TEXT
has() {
    grep -Eq -- "$2" <<<"$3" || why+="$1 has no '$2'; "
}

begin 'the stack section: both threads with their frames, locals and variables'
demo -s stack
if [ "$status" = 2 ]; then
    echo "ok $name # SKIP this command was built without libdw"
else
    is status 0 "$status"
    is errors '' "$errors"
    worker=$(thread_of 'Thread ')
    has worker '^Thread [0-9]+ "worker" of process' "$worker"
    has worker '^#0  price_item \(job=0x[0-9a-f]+, item=0x[0-9a-f]+, discount=0\.25\)' "$worker"
    has worker 'double full = 117$' "$worker"
    has worker '^#1  price_order \(job=0x[0-9a-f]+, order=0x[0-9a-f]+\)' "$worker"
    has worker 'double total = 14$' "$worker"
    has worker '^#[2-9]  worker \(argument=0x[0-9a-f]+\)' "$worker"
    main=$(thread_of 'Copied in thread')
    has main '^Copied in thread [0-9]+ "xctx" of process' "$main"
    has main '^#0  hand_over \(job=0x[0-9a-f]+, reason=0x[0-9a-f]+ "priced by a worker"\)' "$main"
    has main '^#1  take_order \(job=0x[0-9a-f]+\)' "$main"
    has main 'struct job job = \{order = \{number = 4711, .*"bearing.* price = 9\.75\}' "$main"
    for text in "$worker" "$main"; do
        has variables '^    request_id = r-4711$' "$text"
        has variables '^    request_user = www-a$' "$text"
    done
    is threads 2 "$(printf '%s\n' "$output" | grep -Ec '^(Thread|Copied in thread) [0-9]')"
    end
fi

begin 'the stack section with --verbose: all frames, and registers'
demo -s stack --verbose
if [ "$status" = 2 ]; then
    echo "ok $name # SKIP this command was built without libdw"
else
    is status 0 "$status"
    has main '^#[0-9]+ +main \(' "$(thread_of 'Copied in thread')"
    is registers 2 "$(printf '%s\n' "$output" | grep -c '^Registers$')"
    end
fi

begin 'the fiber section: each run goes on where it was captured, and comes to its own outcome'
demo -s fiber
is status 0 "$status"
is errors '' "$errors"
has output '^  thread +\| xctx +\| worker +worker +\| xctx$' "$output"
has output '^  stands in line +\| ([0-9]+) +\| \1 +\1 +\| \1$' "$output"
has output '^  total so far +\| 4\.00 +\| 4\.00 +4\.00 +\| 4\.00$' "$output"
has output '^  user +\| www-a +\| www-a +www-a +\| www-a$' "$output"
has output '^  rounding +\| upward +\| upward +upward +\| upward$' "$output"
has output '^  is told +\| +\| 9\.75 +12\.50 +\| 8\.00$' "$output"
has output '^  comes to +\| +\| 131\.00 +164\.00 +\| 110\.00$' "$output"
if printf '%s\n' "$output" | grep -q 'A snapshot'; then
    line=$(printf '%s\n' "$output" | sed -n 's/^ *stands in line *| *\([0-9]*\).*/\1/p')
    is line "$(sed -n '/ = ask(/=' tools/xctx/demo_fiber.c)" "$line"
    has report "^    price_order at demo_fiber\\.c:$line\$" "$output"
    has report '^      total +[=] 4$' "$output"
fi
end

begin 'all of it on a terminal: within its columns'
demo_on_terminal=$(python3 - "$xctx" <<'PY'
import fcntl, os, pty, struct, sys, termios
process, terminal = pty.fork()
if process == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.environ.update(TERM='xterm', NO_COLOR='1')
    os.execv(sys.argv[1], [sys.argv[1], 'demo', 'LICENSE'])
text = b''
try:
    while part := os.read(terminal, 65536):
        text += part
except OSError: # the other side has gone
    pass
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
print(*(line for line in text.decode().splitlines() if len(line) > 80), sep='\n')
PY
)
is 'status and long lines' 0 "$demo_on_terminal"
end

begin 'output that cannot be written: an error'
errors=$("$xctx" demo 2>&1 >/dev/full)
is status 1 $?
is errors 'xctx: standard output: No space left on device' "$errors"
end

begin 'a reader that goes away: nobody complains'
errors=$({ "$xctx" demo "${files[@]}" | head -n 1 >/dev/null; } 2>&1)
is errors '' "$errors"
end

[ $failures = 0 ]
