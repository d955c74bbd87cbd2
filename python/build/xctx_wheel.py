# SPDX-License-Identifier: MIT
"""Makes wheels and source archives for standard front ends (PEP 517), of what scripts/python-build builds.

meson-python would do the same, where it is there; this is all that it takes, and needs nothing that has to be
downloaded.
"""
import base64
import hashlib
import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def version():
    with open(os.path.join(ROOT, 'meson.build'), encoding='utf-8') as file:
        return re.search(r"version: '([^']+)'", file.read())[1]


def metadata():
    with open(os.path.join(ROOT, 'LICENSE'), encoding='utf-8') as file:
        assert file.readline().startswith('MIT')
    return ('Metadata-Version: 2.1\nName: xctx\nVersion: %s\nLicense: MIT\nRequires-Python: >=3.8\n'
            'Summary: Context variables, and what people think that a copied context holds\n' % version())


def tag():
    python = 'cp%d%d' % sys.version_info[:2]
    platform = sysconfig.get_platform().replace('-', '_').replace('.', '_')
    return '%s-%s%s-%s' % (python, python, sys.abiflags, platform)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    info = 'xctx-%s.dist-info' % version()
    name = 'xctx-%s-%s.whl' % (version(), tag())
    record = []
    with tempfile.TemporaryDirectory() as built, \
            zipfile.ZipFile(os.path.join(wheel_directory, name), 'w', zipfile.ZIP_DEFLATED) as wheel:
        subprocess.run([os.path.join(ROOT, 'scripts', 'python-build'), sys.executable, built], check=True)

        def add(path, data, mode=0o644):
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
            record.append('%s,sha256=%s,%d\n' % (path, digest, len(data)))

        package = os.path.join(built, 'xctx')
        paths = [os.path.join(folder, file) for folder, _, files in os.walk(package) for file in files]
        for path in sorted(paths):
            # Wheels cannot have links.
            if not os.path.islink(path):
                with open(path, 'rb') as content:
                    add(os.path.relpath(path, built), content.read(), os.stat(path).st_mode & 0o777)
        add(info + '/METADATA', metadata().encode())
        add(info + '/WHEEL', ('Wheel-Version: 1.0\nGenerator: xctx\nRoot-Is-Purelib: false\nTag: %s\n' % tag()).encode())
        with open(os.path.join(ROOT, 'LICENSE'), 'rb') as content:
            add(info + '/LICENSE', content.read())
        record.append('%s/RECORD,,\n' % info)
        wheel.writestr(info + '/RECORD', ''.join(record))
    return name


def build_sdist(sdist_directory, config_settings=None):
    """What git knows, with the metadata on top."""
    base = 'xctx-' + version()
    files = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode()
    with tarfile.open(os.path.join(sdist_directory, base + '.tar.gz'), 'w:gz') as archive:
        for file in sorted(filter(None, files.split('\0'))):
            if os.path.lexists(os.path.join(ROOT, file)):
                archive.add(os.path.join(ROOT, file), base + '/' + file, recursive=False)
        data = metadata().encode()
        entry = tarfile.TarInfo(base + '/PKG-INFO')
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return base + '.tar.gz'
