# SPDX-License-Identifier: MIT
"""What the script `judge` asks others than gdb: whether gdb is wrong about something. By readelf and addr2line."""
import functools
import os
import re
import struct
import subprocess

ENTRY = re.compile(r' *<(\w+)><(\w+)>: Abbrev Number: \d+ \((DW_TAG_\w+)\)')
ATTRIBUTE = re.compile(r' +<\w+> +(DW_AT_\w+) *: ?(.*)')
MEMBER = re.compile(r'\A(\w+) = ')
ELF_ENTRY = 24
LIMIT = 300  # seconds for each program that is run


def read_by(command):
    """What a program writes."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors='replace',
                          check=True, timeout=LIMIT, env=dict(os.environ, LC_ALL='C')).stdout


def files_of(program):
    """Those that have its debug information."""
    return program, *program.parent.glob('*.debug'), *program.parent.glob('*.dwo')


def entries(file):
    """Yields (depth, reference to it, tag, attributes) of each entry of a file's debug information, by readelf."""
    entry = None
    command = ['readelf', '--debug-dump=no-follow-links', '--debug-dump=info', str(file)]
    for line in read_by(command).split('\n'):
        begin, attribute = ENTRY.match(line), ATTRIBUTE.match(line)
        if begin:
            if entry:
                yield entry
            entry = int(begin.group(1), 16), f'<0x{begin.group(2)}>', begin.group(3), {}
        elif attribute and entry:
            entry[3][attribute.group(1)] = attribute.group(2).rsplit('): ', maxsplit=1)[-1].strip()
    if entry:
        yield entry


def constant_bounds(program):
    """{"name:line": number of elements}, of the arrays of variable length that clang knows the length of."""
    bounds = {}
    for file in files_of(program):
        if b'__vla_expr' not in file.read_bytes():
            continue
        constants, arrays, variables, ranges = {}, {}, [], []
        for _, reference, tag, attributes in entries(file):
            if tag == 'DW_TAG_array_type':
                ranges = arrays[reference] = []
            elif tag == 'DW_TAG_subrange_type':
                ranges.append(attributes.get('DW_AT_count'))
            elif tag == 'DW_TAG_variable' and 'DW_AT_const_value' in attributes and 'DW_AT_location' not in attributes:
                constants[reference] = int(attributes['DW_AT_const_value'], 0)
            elif tag == 'DW_TAG_variable' and {'DW_AT_name', 'DW_AT_decl_line'} <= set(attributes):
                name = f'{attributes["DW_AT_name"]}:{attributes["DW_AT_decl_line"]}'
                variables.append((name, attributes.get('DW_AT_type')))
        for name, kind in variables:
            count = arrays.get(kind, [])
            if len(count) == 1 and constants.get(count[0], 0) > 1:
                bounds[name] = constants[count[0]]
    return bounds


def bare_structures(file):
    """Yields the structures that hidden_members() says, of one file."""
    bare, structure, members = None, None, []
    for depth, _, tag, attributes in entries(file):
        if structure is not None and depth <= structure:
            yield tuple(members)
            structure = None
        bare = None if bare is not None and depth <= bare else bare
        if tag == 'DW_TAG_subprogram' and structure is None:
            bare = depth if set(attributes) <= {'DW_AT_sibling', 'DW_AT_abstract_origin'} else None
        elif tag in ('DW_TAG_structure_type', 'DW_TAG_class_type') and bare is not None and structure is None:
            structure, members = depth, []
        elif tag == 'DW_TAG_member' and structure == depth - 1:
            members.append(attributes.get('DW_AT_name', ''))


@functools.lru_cache
def hidden_members(program):
    """The structures, as tuples of their members' names, that are within the entry of a function which says nothing but,
    at most, what it is a copy of."""
    return {names for file in files_of(program) for names in bare_structures(file)}


@functools.lru_cache
def has_no_line(program, from_entry):
    """Whether the line table has no line, 0, for an address; given as its distance from the program's entry point."""
    entry, = struct.unpack_from('<Q', program.read_bytes(), ELF_ENTRY)
    place = read_by(['addr2line', '-e', str(program), hex(entry + from_entry)]).strip()
    return place.endswith((':?', ':0')) and not place.startswith('??')


def structure_at(text, at):
    """The names of the members of the structure that begins at a place of a value, and where it ends."""
    depth, quote, names, here = 0, '', [], at
    while here < len(text):
        now = text[here]
        if quote:
            here += now == '\\'
            quote = '' if now == quote else quote
        elif now in '"\'':
            quote = now
        elif now in '{}':
            depth += 1 if now == '{' else -1
            if depth == 0:
                break
        # A member begins behind the brace, and behind each comma.
        if not quote and depth == 1 and (now == '{' or text[here - 1:here + 1] == ', '):
            names += MEMBER.findall(text[here + 1:here + 256])
        here += 1
    return tuple(names), here + 1
