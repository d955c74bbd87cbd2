# SPDX-License-Identifier: MIT
"""Runs within gdb: writes what it says of core files, as JSON.

JUDGE_CORES names them, one to a line, and JUDGE_OTHERS a copy of each in which other values are in the registers that a
call does not preserve; JUDGE_OUTPUT is the file to write. JUDGE_BOUNDS has the arrays that gdb does not find the number
of elements of, as {"name:line": number}. Values are those of `info args` and `info locals`, which print what `bt full`
prints, one variable to a line.
"""
import collections
import json
import os
import re

import gdb

VARIABLE = re.compile(r'([A-Za-z_$][\w$#]*) = ')
BOUNDS = json.loads(os.environ.get('JUDGE_BOUNDS', '{}'))


def variables(command):
    """Yields (name, value) of what a command lists, in its order."""
    text = gdb.execute(command, to_string=True)
    found = []
    for line in text.split('\n'):
        match = VARIABLE.match(line)
        if match:
            found.append([match.group(1), line[match.end():]])
        elif found and line.strip():
            found[-1][1] += '\n' + line
    return found


def written(value):
    """A value as `print` has it."""
    gdb.set_convenience_variable('judge', value)
    return gdb.execute('output $judge', to_string=True)


def with_bounds(frame, found):
    """Puts the values of arrays that gdb takes for ones of one element into what `info locals` listed."""
    block = frame.block() if BOUNDS else None
    seen = collections.Counter()
    while block:
        for symbol in block:
            if symbol.is_argument:
                continue
            same = [variable for variable in found if variable[0] == symbol.name]
            count = BOUNDS.get(f'{symbol.name}:{symbol.line}')
            if count and seen[symbol.name] < len(same):
                value = symbol.value(frame)
                whole = value.type.target().array(count - 1).pointer()
                if value.type.range() == (0, 0) and same[seen[symbol.name]][1] == written(value):
                    same[seen[symbol.name]][1] = written(value.address.cast(whole).dereference())
            seen[symbol.name] += 1
        block = None if block.function else block.superblock
    return found


def entry_point():
    """Where the program begins."""
    match = re.search(r'Entry point: (0x[0-9a-f]+)', gdb.execute('info files', to_string=True))
    return int(match.group(1), 16) if match else 0


def frames():
    """What gdb says of every frame, the innermost first."""
    frame = gdb.newest_frame()
    entry = entry_point()
    result = []
    while frame is not None and frame.is_valid():
        frame.select()
        place = frame.find_sal()
        result.append({
            'function': frame.name(),
            'file': place.symtab.filename if place.symtab else None,
            'line': place.line,
            # If the frame is in a call although nothing is above it.
            'line_of_call': gdb.find_pc_line(frame.pc() - 1).line,
            'inlined': frame.type() == gdb.INLINE_FRAME,
            'pc': frame.pc(),
            'from_entry': frame.pc() - entry,
            # A frame that the kernel made to call a handler: gdb shows it as "<signal handler called>".
            'signal': frame.type() == gdb.SIGTRAMP_FRAME,
            # A function that left by a jump to the one above it: found by way of the call sites.
            'tail': frame.type() == gdb.TAILCALL_FRAME,
            # What the linker knows of that function, with the file that it is in.
            'symbol': gdb.execute(f'info symbol {int(frame.function().value().address)}', to_string=True)
                      if frame.type() == gdb.TAILCALL_FRAME and frame.function() else '',
            'why': gdb.frame_stop_reason_string(frame.unwind_stop_reason()),
            'parameters': variables('info args') if frame.function() else [],
            'locals': with_bounds(frame, variables('info locals')) if frame.function() else [],
        })
        frame = frame.older()
    return result


def mark(seen, seen_in_other):
    """Notes which values follow from the registers that are not the same in the two."""
    for frame, other in zip(seen, seen_in_other):
        for kind in ('parameters', 'locals'):
            for variable, again in zip(frame[kind], other[kind]):
                variable.append(variable != again)


def main():
    result = {}
    for core, other in zip(os.environ['JUDGE_CORES'].split('\n'), os.environ['JUDGE_OTHERS'].split('\n')):
        gdb.execute('core-file ' + core, to_string=True)
        result[core] = frames()
        gdb.execute('core-file ' + other, to_string=True)
        mark(result[core], frames())
    with open(os.environ['JUDGE_OUTPUT'], 'w', encoding='utf-8') as file:
        json.dump(result, file)


main()
