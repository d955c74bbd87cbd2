# SPDX-License-Identifier: MIT
"""python -m xctx: runs a program after install(), as the interpreter itself would run it."""

import sys

USAGE = """\
usage: python -m xctx [option]... SCRIPT [argument]...
       python -m xctx [option]... -m MODULE [argument]...

Run a Python program in which all threads, executors and asyncio tasks get the
context of whoever submitted their work, and in which tracebacks go on where
that was. SCRIPT is a file, a folder or a zip file, as for python itself.

options:
  --capture=WHAT   what is captured where work is submitted: stack, locals,
                   native, state, separated by commas, all, or none
                   (default: stack)
  --locals         capture local variables, too, and show them
  --dump-on=SIGNAL print what all threads do, and who submitted their work, at
                   a signal: USR1, for example
  --version        print the version
  -h, --help       print this
"""


class _UsageError(Exception):
    pass


def _parse(arguments):
    """The options, and what is left: whether a module is to be run, and the program with its arguments."""
    options = {"capture": "stack", "locals": False, "dump_on": None}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--", "-m"):
        option = rest.pop(0)
        name, equals, value = option.partition("=")
        if option in ("-h", "--help", "--version"):
            return {"only": option}, False, []
        if option == "--locals":
            options["locals"] = True
        elif name in ("--capture", "--dump-on"):
            if not equals:
                if not rest:
                    raise _UsageError("%s needs a value" % name)
                value = rest.pop(0)
            options[name[2:].replace("-", "_")] = value
        elif option.startswith("-m") and not option.startswith("--"):
            rest[:0] = ["-m", option[2:]]
        else:
            raise _UsageError("no such option: %s" % option)
    if rest and rest[0] == "--":
        del rest[0]
        return options, False, rest
    if rest and rest[0] == "-m":
        return options, True, rest[1:]
    return options, False, rest


def _signal_number(name):
    import signal

    name = name.upper()
    number = int(name) if name.isdigit() else getattr(signal, name if name.startswith("SIG") else "SIG" + name, None)
    try:
        return signal.Signals(number)
    except ValueError:
        raise _UsageError("no such signal: %s" % name) from None


class _CannotRun(Exception):
    """The interpreter would say this and end."""

    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


def _find_module(name):
    import runpy

    try:
        _, spec, code = runpy._get_module_details(name, runpy._Error)
    except runpy._Error as error:
        raise _CannotRun(str(error), 1) from None
    # As runpy does it: the module's package and where it was loaded from.
    facts = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": spec.loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }
    return code, facts, spec.origin


def _find_in_container(path):
    """__main__ of a folder or zip file that is the first on sys.path; None if it is neither."""
    import importlib.machinery
    import pkgutil

    importer = pkgutil.get_importer(path)
    if importer is None:
        return None
    spec = importlib.machinery.PathFinder.find_spec("__main__", [path])
    if spec is None or spec.loader is None:
        raise _CannotRun("can't find '__main__' module in %r" % path, 1)
    facts = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": spec.loader,
        "__package__": "",
        "__spec__": spec,
    }
    return spec.loader.get_code("__main__"), facts


def _find_script(path):
    import importlib.machinery
    import io
    import os
    import pkgutil

    safe = getattr(sys.flags, "safe_path", sys.flags.isolated)
    try:
        if path != "-":
            os.stat(path)
    except OSError as error:
        raise _CannotRun("can't open file %r: [Errno %d] %s" % (os.path.abspath(path), error.errno, error.strerror), 2)
    file = os.path.abspath(path) if sys.version_info >= (3, 9) else path
    found = _find_in_container(file) if path != "-" else None
    if found is not None:
        # Folders and zip files are on sys.path in any case.
        sys.path[:] = [file] + (sys.path if safe else sys.path[1:])
        return found + (path,)
    if not safe and sys.path:
        sys.path[0] = os.path.dirname(os.path.realpath(path)) if path != "-" else ""
    if path == "-":
        return compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True), {"__file__": "<stdin>"}, path
    try:
        with io.open_code(file) as stream:
            code = pkgutil.read_code(stream)
        if code is None:
            with io.open_code(file) as stream:
                source = stream.read()
            code = compile(source, file, "exec", dont_inherit=True)
            loader = importlib.machinery.SourceFileLoader("__main__", file)
        else:
            loader = importlib.machinery.SourcelessFileLoader("__main__", file)
    except OSError as error:
        raise _CannotRun("can't open file %r: [Errno %d] %s" % (file, error.errno, error.strerror), 2) from None
    return code, {"__file__": file, "__cached__": None, "__loader__": loader}, path


def _without_our_frames(traceback):
    """The traceback from the program's first frame on."""
    first = traceback
    while traceback is not None and traceback.tb_frame.f_code is not _run.__code__:
        traceback = traceback.tb_next
    if traceback is None:
        return first
    while traceback is not None and traceback.tb_frame.f_code.co_filename == _run.__code__.co_filename:
        traceback = traceback.tb_next
    return traceback


def _hide_our_frames(value):
    """The program has raised something. The interpreter prints it and ends, but with the program's frames only."""
    hook = sys.excepthook

    def excepthook(type, value, traceback):
        sys.excepthook = hook
        traceback = _without_our_frames(traceback)
        value.__traceback__ = traceback
        sys.last_traceback = traceback
        hook(type, value, traceback)

    if not isinstance(value, SystemExit):
        sys.excepthook = excepthook


def _run(is_module, rest):
    import types

    program = types.ModuleType("__main__")
    program.__builtins__ = sys.modules["builtins"]
    program.__annotations__ = {}
    if is_module:
        sys.argv[:] = ["-m"] + rest[1:]
        code, facts, sys.argv[0] = _find_module(rest[0])
    else:
        sys.argv[:] = rest
        code, facts, sys.argv[0] = _find_script(rest[0])
    vars(program).update(facts)
    sys.modules["__main__"] = program
    exec(code, vars(program))


def main(arguments):
    """What python -m xctx does. Returns the exit status if the program was not run."""
    try:
        options, is_module, rest = _parse(arguments)
        if "only" in options:
            if options["only"] == "--version":
                import xctx

                print("xctx %s" % xctx.__version__)
            else:
                print(USAGE, end="")
            return 0
        if not rest:
            raise _UsageError("nothing to run")
        signum = _signal_number(options["dump_on"]) if options["dump_on"] else None
        from xctx._install import install

        try:
            install(capture=options["capture"], locals=options["locals"])
            if signum is not None:
                from xctx._dump import register_dump

                register_dump(signum)
        except (ValueError, TypeError) as error:
            raise _UsageError(str(error)) from None
    except _UsageError as error:
        print("python -m xctx: %s; see --help" % error, file=sys.stderr)
        return 2
    try:
        _run(is_module, rest)
    except _CannotRun as error:
        print("%s: %s" % (sys.executable, error), file=sys.stderr)
        return error.status
    except BaseException as error:
        _hide_our_frames(error)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
