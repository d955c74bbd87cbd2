# SPDX-License-Identifier: MIT
# The front door; meson does the work. `make help` says what there is.

BUILD ?= build
SECONDS ?= 60
PYTHON ?= python3
PREFIX ?= /usr/local
# More options for meson, for install: OPTIONS="--libdir=lib64".
OPTIONS ?=

.DEFAULT_GOAL := build
.PHONY: build demo check check-quick check-python-all check-python-sanitizers bench judge judge-programs install docs \
    python fuzz clean help

# Names of folders reach the scripts by the environment: they may have spaces in them.
export BUILD
install: export PREFIX := $(PREFIX)

build:
	@scripts/build "$$BUILD"

demo:
	@scripts/setup build
	@scripts/build "$$BUILD"
	@"$$BUILD/tools/xctx/xctx" demo $(FILES)

check:
	@scripts/check all

check-quick:
	@scripts/setup build test
	@scripts/check gcc

check-python-all:
	@scripts/setup build python
	@scripts/check python-all

check-python-sanitizers:
	@scripts/setup build python check
	@scripts/check python-asan python-valgrind

bench:
	@scripts/setup build bench
	@scripts/build "$$BUILD" -Dbench=enabled
	@package=$$(bench/package "$$BUILD") && \
	    bench/run "$$BUILD/bench/xctx-bench" --package "$$package" --json "$$BUILD/bench.json"

judge:
	@scripts/setup build test check
	@scripts/build "$$BUILD"
	@scripts/judge "$$BUILD"

judge-programs:
	@scripts/setup build test check
	@scripts/build "$$BUILD"
	@scripts/judge-programs "$$BUILD"

install:
	@scripts/install "$$BUILD" "$$PREFIX" $(OPTIONS)

docs:
	@scripts/setup docs build python
	@scripts/docs "$$BUILD/docs"

python:
	@scripts/setup build python
	@scripts/python-build "$(PYTHON)"

fuzz:
	@scripts/setup build check
	@scripts/fuzz $(SECONDS)

clean:
	@rm -rf -- "$$BUILD"

help:
	@echo 'make                     build the library and the command, in $(BUILD)/'
	@echo 'make demo [FILES="…"]    set up what is missing, build, and show the main job'
	@echo 'make check               set up, build, run every check (some minutes)'
	@echo 'make check-quick         build, run the unit tests'
	@echo 'make check-python-all    the tests of the Python package, for every Python from 3.8 on that is installed'
	@echo 'make check-python-sanitizers  the same for the system'"'"'s Python, under AddressSanitizer and Valgrind'
	@echo 'make bench               measure against CPython and yardsticks; $(BUILD)/bench.json'
	@echo 'make judge               compare reports with what gdb says, built in many ways (half an hour)'
	@echo 'make judge-programs      the same with real programs, whose sources it downloads'
	@echo 'make install PREFIX=DIR  install (default: $(PREFIX)); DESTDIR= is honoured'
	@echo 'make docs                the reference of the headers and of the Python package, in $(BUILD)/docs/html'
	@echo 'make python PYTHON=python3.X  the Python package, in build/python-3.X/'
	@echo 'make fuzz [SECONDS=60]   random calls against a model, damaged core files and debug information'
	@echo 'make clean               remove $(BUILD)/'
	@echo 'scripts/check JOB…       a single check; scripts/check lists them'
