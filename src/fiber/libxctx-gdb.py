# SPDX-License-Identifier: MIT
"""Fibers in gdb: `xctx fibers` lists them, `xctx fiber` shows what each is doing.

gdb loads this by itself where it is installed for libxctx (share/gdb/auto-load); else: `source libxctx-gdb.py`. It
works in a process and in its core file, and needs no debug information of libxctx: what there is to know is in
xctx__gdb, as src/fiber/debug.h lays it out.

A suspended fiber has its registers on its stack. To show it, an unwinder says for a moment that they are those of the
caller of the selected thread's innermost frame. Nothing is written into the process, so that also works in a core file,
and gdb may be interrupted at any time.
"""
import re
import struct

import gdb
import gdb.unwinder

UNKNOWN, CREATED, SUSPENDED, RUNNING, DONE, SHARED = range(6)
STATES = {UNKNOWN: 'unknown', CREATED: 'created', SUSPENDED: 'suspended', RUNNING: 'running', DONE: 'done'}
PAGES_MOST = 1 << 16
ENTRY_BYTES = 32  # in which a fiber's first frame has its return address
NAME_MOST = 64
FRAMES_MOST = 16  # of the library, that are passed over to find where a fiber is


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word_at(address):
    return struct.unpack('<Q', read(address, 8))[0]


def text(data):
    return data.split(b'\0')[0].decode('utf-8', 'replace')


class Layout:
    """What xctx__gdb says."""
    OFFSETS = ('page_next', 'page_used', 'page_entries', 'entry_size', 'entry_begin', 'entry_end', 'slab_count',
               'slab_fibers', 'fiber_size', 'fiber_state', 'fiber_sp', 'fiber_resumer_sp', 'fiber_resumer',
               'fiber_low', 'fiber_high', 'fiber_name', 'fiber_more', 'more_place', 'on_stack', 'turns_state',
               'turns_resident', 'state_mask')

    def __init__(self, address):
        magic, self.version, size, self.pages, self.entry = struct.unpack('<8sIIQQ', read(address, 32))
        if magic != b'xctxgdb\0' or not 152 < size < 1 << 16:
            raise gdb.GdbError('xctx: xctx__gdb is not what this script knows')
        data = read(address, size)
        for index, name in enumerate(self.OFFSETS):
            setattr(self, name, struct.unpack_from('<I', data, 32 + 4 * index)[0])
        self.states = data[120:128]
        self.sp_name, self.pc_name = text(data[128:136]), text(data[136:144])
        self.frame_size = struct.unpack_from('<I', data, 144)[0]
        self.registers = {}
        for at in range(152, size - 15, 16):
            name = text(data[at:at + 8])
            if not name:
                break
            self.registers[name] = struct.unpack_from('<I', data, at + 8)[0]


def layout():
    try:
        address = int(gdb.parse_and_eval("(unsigned long)&'xctx__gdb'"))
    except gdb.error:
        raise gdb.GdbError('xctx: the program has no libxctx, or it is not loaded yet')
    try:
        return Layout(address)
    except gdb.MemoryError:
        raise gdb.GdbError('xctx: the memory of libxctx cannot be read')


class Fiber:
    def __init__(self, layout, address, data):
        def word(offset):
            return struct.unpack_from('<Q', data, offset)[0]

        self.layout = layout
        self.address = address
        self.state = UNKNOWN
        tag = word(layout.fiber_state) & layout.state_mask
        if tag < len(layout.states):
            self.state = layout.states[tag]
        self.sp = word(layout.fiber_sp)
        self.resumer_sp = word(layout.fiber_resumer_sp)
        self.resumer = word(layout.fiber_resumer)
        self.low, self.high = word(layout.fiber_low), word(layout.fiber_high)
        self.name_at = word(layout.fiber_name)
        self.parked = False  # its bytes are not on its stack
        self.resident = 0  # of its stack, if it takes turns there
        if self.state == SHARED:
            self.take_turn(word(layout.fiber_more))
        self.thread = None  # the one that it runs on, or waits on
        self.waits_for = None

    def take_turn(self, more):
        """Which of the other states that is."""
        layout = self.layout
        turns = word_at(self.high + layout.turns_state) & layout.state_mask
        self.resident = word_at(self.high + layout.turns_resident)
        if self.resident == self.address and layout.states[turns] == RUNNING:
            self.state = RUNNING
            return
        self.state = SUSPENDED
        self.parked = not more or read(more + layout.more_place, 1)[0] != layout.on_stack

    @property
    def name(self):
        try:
            return text(read(self.name_at, NAME_MOST))
        except gdb.MemoryError:
            return '?'

    @property
    def state_name(self):
        if self.waits_for:
            return 'waiting'
        return 'parked' if self.parked else STATES.get(self.state, 'unknown')

    def top(self):
        """The stack pointer of what it has on its stack; None: there is nothing, or it is elsewhere."""
        if self.parked or self.state not in (CREATED, SUSPENDED, RUNNING):
            return None
        if self.waits_for:
            return self.waits_for.resumer_sp
        if self.state == RUNNING:
            return self.thread and self.thread_sp
        return self.sp

    def has(self, address):
        return self.low <= address < self.high


def slab_fibers(layout, slab):
    count = struct.unpack('<I', read(slab + layout.slab_count, 4))[0]
    data = read(slab + layout.slab_fibers, count * layout.fiber_size)
    for index in range(count):
        at = index * layout.fiber_size
        fiber = Fiber(layout, slab + layout.slab_fibers + at, data[at:at + layout.fiber_size])
        if fiber.name_at:
            yield fiber


def find_fibers(layout):
    """All fibers that somebody has a reference to, in the order of their slabs. Of shots of a continuation, those whose
    turn it is on their stack: no other one can be found."""
    fibers = []
    page, left = layout.pages, PAGES_MOST
    while page and left:
        left -= 1
        used = word_at(page + layout.page_used)
        entries = read(page + layout.page_entries, used * layout.entry_size)
        for index in range(used):
            begin, = struct.unpack_from('<Q', entries, index * layout.entry_size + layout.entry_begin)
            end, = struct.unpack_from('<Q', entries, index * layout.entry_size + layout.entry_end)
            if not end:
                continue
            for fiber in slab_fibers(layout, begin):
                fibers.append(fiber)
                if fiber.resident not in (0, fiber.address):
                    fibers.append(Fiber(layout, fiber.resident, read(fiber.resident, layout.fiber_size)))
        page = word_at(page + layout.page_next)
    return fibers


def find_threads(fibers):
    """Notes which thread each running fiber runs on, and which ones wait for others."""
    running = [fiber for fiber in fibers if fiber.state == RUNNING]
    by_address = {fiber.address: fiber for fiber in running}
    for fiber in running:
        if fiber.resumer in by_address:
            by_address[fiber.resumer].waits_for = fiber
    innermost = [fiber for fiber in running if not fiber.waits_for]
    if not innermost:
        return
    with selected_thread():
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            frame = gdb.newest_frame()
            # A signal handler may run on a stack of its own: then one of its callers is on the fiber's.
            for _ in range(FRAMES_MOST):
                if not frame or not frame.is_valid():
                    break
                sp = int(frame.read_register('sp')) & (1 << 64) - 1
                found = next((fiber for fiber in innermost if fiber.has(sp)), None)
                if found:
                    found.thread, found.thread_sp = thread, sp
                    break
                frame = older(frame)
    for fiber in innermost:
        other = by_address.get(fiber.resumer)
        while fiber.thread and other and not other.thread:
            other.thread = fiber.thread
            other = by_address.get(other.resumer)


def older(frame):
    try:
        return frame.older()
    except gdb.error:
        return None


class selected_thread:
    """Selects again what was selected."""
    def __enter__(self):
        self.thread = gdb.selected_thread()
        try:
            self.frame = gdb.selected_frame()
        except gdb.error:
            self.frame = None

    def __exit__(self, *error):
        if self.thread and self.thread.is_valid():
            self.thread.switch()
        if self.frame and self.frame.is_valid():
            self.frame.select()


# ---- showing a stack that no thread runs on ----

class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class FiberUnwinder(gdb.unwinder.Unwinder):
    def __init__(self):
        super().__init__('xctx-fiber')
        self.fiber = None

    def __call__(self, pending):
        if not self.fiber:
            return None
        layout = self.fiber.layout
        sp, pc = pending.read_register(layout.sp_name), pending.read_register(layout.pc_name)
        if pending.level() == 0:
            return self.begin(pending, layout, sp, pc)
        if self.fiber.waits_for or not layout.entry <= int(pc) < layout.entry + ENTRY_BYTES:
            return None
        # Its first frame. Nobody has resumed it, and who last did has gone on since.
        info = pending.create_unwind_info(FrameId(sp, pc))
        info.add_saved_register(layout.sp_name, sp)
        info.add_saved_register(layout.pc_name, gdb.Value(0).cast(pc.type))
        return info

    def begin(self, pending, layout, sp, pc):
        top = self.fiber.top()
        # It is further down than anything of the fiber's: else gdb takes the stack for a broken one.
        info = pending.create_unwind_info(FrameId(gdb.Value(top).cast(sp.type), pc))
        info.add_saved_register(layout.sp_name, gdb.Value(top + layout.frame_size).cast(sp.type))
        for name, offset in layout.registers.items():
            value = word_at(top + offset)
            info.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
        return info


unwinder = FiberUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


class view:
    """In it the selected thread's callers, from frame 1 on, are those of a fiber."""
    def __init__(self, fiber):
        self.fiber = fiber

    def __enter__(self):
        self.selected = selected_thread()
        self.selected.__enter__()
        # Frames may not be kept over that: only the thread is selected again, and the frame by its level.
        self.level = self.selected.frame.level() if self.selected.frame else 0
        self.selected.frame = None
        unwinder.fiber = self.fiber
        gdb.invalidate_cached_frames()

    def __exit__(self, *error):
        unwinder.fiber = None
        gdb.invalidate_cached_frames()
        self.selected.__exit__()
        frame = gdb.newest_frame()
        for _ in range(self.level):
            frame = frame and older(frame)
        if frame:
            frame.select()


def is_own(frame):
    """Whether a frame is one of libxctx."""
    if 'libxctx' in (gdb.solib_name(frame.pc()) or '') or (frame.name() or '').startswith('xctx_'):
        return True
    line = frame.find_sal()
    return bool(line.symtab and line.symtab.filename.endswith('src/fiber/switch.c'))  # in a static program


def place_of(frame):
    for _ in range(FRAMES_MOST):
        if not frame or not is_own(frame):
            break
        frame = older(frame)
    if not frame:
        return '?'
    name = frame.name() or hex(frame.pc())
    line = frame.find_sal()
    if line.symtab and line.line:
        return f'{name} at {line.symtab.filename}:{line.line}'
    return name


def name_of_code(address):
    found = gdb.execute(f'info symbol {address:#x}', to_string=True)
    match = re.match(r'(\S+)( \+ \d+)? in section', found)
    return match[1] if match else hex(address)


def where(fiber):
    try:
        if fiber.state == CREATED:
            return f'to begin in {name_of_code(word_at(fiber.sp + 8))}'
        if fiber.state == RUNNING and not fiber.waits_for:
            if not fiber.thread:
                return '?'
            with selected_thread():
                fiber.thread.switch()
                frame = gdb.newest_frame()
                while frame and not fiber.has(int(frame.read_register('sp')) & (1 << 64) - 1):
                    frame = older(frame)
                return place_of(frame)
        if fiber.top() is None:
            return ''
        with view(fiber):
            return place_of(older(gdb.newest_frame()))
    except gdb.error as error:
        return f'? ({error})'


# ---- commands ----

def all_fibers():
    if not gdb.selected_thread():
        raise gdb.GdbError('xctx: there is no process and no core file')
    fibers = find_fibers(layout())
    find_threads(fibers)
    return fibers


def used_of(fiber):
    top = fiber.top()
    size = (fiber.high - fiber.low + 1023) // 1024
    if top is None or not fiber.has(top):
        return f'{size} KiB'
    return f'{(fiber.high - top) / 1024:.1f}/{size} KiB'


def heading(number, fiber):
    name = f' "{fiber.name}"' if fiber.name else ''
    thread = f', thread {fiber.thread.num}' if fiber.thread else ''
    return f'Fiber {number} ({fiber.address:#x}){name}: {fiber.state_name}{thread}'


def show(number, fiber, command):
    """Runs a command on a fiber's stack."""
    print(heading(number, fiber))
    if fiber.state == RUNNING and not fiber.waits_for:
        if not fiber.thread:
            raise gdb.GdbError('xctx: no thread runs on its stack')
        with selected_thread():
            fiber.thread.switch()
            gdb.execute(command)
    elif fiber.state == CREATED:
        print(where(fiber))
    elif fiber.top() is None:
        print('its stack is another one\'s now' if fiber.parked else 'it has nothing on its stack')
    else:
        with view(fiber):
            frame = older(gdb.newest_frame())
            if not frame:
                raise gdb.GdbError('xctx: its stack cannot be read')
            frame.select()
            if re.match(r'(bt|backtrace|where)\b', command):
                print(without_ends(gdb.execute(command, to_string=True)), end='')
            else:
                gdb.execute(command)


def without_ends(output):
    """A backtrace without its innermost frame, which is the thread's, and without the caller of the outermost one."""
    lines = output.splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if re.match(r'#1\s', line)), len(lines))
    return ''.join(line for line in lines[first:] if not re.match(r'#\d+\s+0x0+ in \?\? \(\)$', line))


def select(fibers, words):
    """The fibers that a list like `1 3-5 0x7f12…` or `all` names, with their numbers."""
    chosen = []
    for one in words:
        by_address = [i for i, fiber in enumerate(fibers) if one.startswith('0x') and fiber.address == int(one, 16)]
        match = re.fullmatch(r'(\d+)(?:-(\d+))?', one)
        if one == 'all':
            chosen += range(len(fibers))
        elif by_address:
            chosen += by_address
        elif match and 1 <= int(match[1]) <= int(match[2] or match[1]) <= len(fibers):
            chosen += range(int(match[1]) - 1, int(match[2] or match[1]))
        else:
            raise gdb.GdbError(f'xctx: there is no fiber {one}')
    return [(i + 1, fibers[i]) for i in chosen]


class XctxCommand(gdb.Command):
    """Commands for what libxctx knows of a program."""
    def __init__(self):
        super().__init__('xctx', gdb.COMMAND_STACK, prefix=True)


class XctxFibersCommand(gdb.Command):
    """Lists all fibers: number, address, state, thread, stack used and in all, name, and where each is.

    Usage: xctx fibers

    Numbers are in the order of memory; as fibers come and go they change."""
    def __init__(self):
        super().__init__('xctx fibers', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        fibers = all_fibers()
        if not fibers:
            print('There are no fibers.')
            return
        print(f'{"Num":>5}  {"Fiber":<18}  {"State":<9}  {"Thread":<6}  {"Stack":<14}  Name and place')
        for number, fiber in enumerate(fibers, 1):
            thread = str(fiber.thread.num) if fiber.thread else ''
            name = f'"{fiber.name}" ' if fiber.name else ''
            print(f'{number:>5}  {fiber.address:<#18x}  {fiber.state_name:<9}  {thread:<6}  {used_of(fiber):<14}  '
                  f'{name}{where(fiber)}'.rstrip())


class XctxFiberCommand(gdb.Command):
    """Shows what fibers are doing.

    Usage: xctx fiber FIBER [COMMAND]
           xctx fiber apply FIBER... | all COMMAND

    FIBER is a number of `xctx fibers`, or an address; with `apply` also a range like 2-5. COMMAND is run with the
    fiber's innermost frame selected; `bt` if none is given. The frames of a suspended fiber begin with number 1."""
    def __init__(self):
        super().__init__('xctx fiber', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split()
        if not words or words == ['apply']:
            raise gdb.GdbError('xctx: which fiber? See "help xctx fiber"')
        many = words[0] == 'apply'
        count = 1
        if many:
            words = words[1:]
            while count < len(words) and re.fullmatch(r'all|0x[0-9a-fA-F]+|\d+(-\d+)?', words[count]):
                count += 1
        chosen = select(all_fibers(), words[:count])
        command = ' '.join(words[count:]) or 'bt'
        for number, fiber in chosen:
            try:
                show(number, fiber, command)
            except gdb.error as error:
                if not many:
                    raise
                print(f'xctx: {error}')
            if many:
                print()


XctxCommand()
XctxFibersCommand()
XctxFiberCommand()
