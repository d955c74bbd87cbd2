#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Validates reports: check_report_schema.py SCHEMA FILE...

Each FILE must be one JSON object in valid UTF-8, without a name twice in one object, as SCHEMA says. Without
python3-jsonschema it ends with 77: skipped.
"""
import json
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print('python3-jsonschema is not installed')
    sys.exit(77)


def without_twins(pairs):
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError(f'a name is there twice: {names}')
    return dict(pairs)


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    failed = False
    for path in sys.argv[2:]:
        with open(path, 'rb') as file:
            report = json.loads(file.read().decode('utf-8'), object_pairs_hook=without_twins)
        for error in validator.iter_errors(report):
            failed = True
            for part in [error, *(error.context or [])]:
                print(f'{path}: {part.json_path}: {part.message[:300]}', file=sys.stderr)
    sys.exit(1 if failed else 0)


main()
