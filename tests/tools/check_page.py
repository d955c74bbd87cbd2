#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Looks at pages that reports were written to: check_page.py FILE...

Each must be valid UTF-8 with its tags in order; have one style and one script, whose hashes are those in its policy;
nothing that the policy would keep a browser from using, and nothing from elsewhere; each id once, and for each link
within the page its target.
"""
import base64
import hashlib
import html.parser
import re
import sys

VOID = {'meta', 'path', 'circle'}
KNOWN = VOID | {'a', 'article', 'b', 'body', 'button', 'dd', 'details', 'div', 'dl', 'dt', 'h1', 'h2', 'h3', 'head',
                'header', 'html', 'li', 'main', 'nav', 'ol', 'p', 'script', 'section', 'small', 'span', 'style', 'summary',
                'svg', 'table', 'tbody', 'td', 'th', 'thead', 'time', 'title', 'tr', 'ul'}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.ids, self.links, self.raw, self.policy = [], [], [], [], {}, ''

    def handle_starttag(self, tag, attrs):
        if tag not in KNOWN:
            self.wrong.append(f'<{tag}>')
        for name, value in attrs:
            if name == 'style' or name.startswith('on') or name in ('src', 'srcset'):
                self.wrong.append(f'<{tag} {name}>')
            if name == 'href' and not value.startswith('#'):
                self.wrong.append(f'a link to {value}')
            if name == 'id':
                self.ids.append(value)
            if name == 'href':
                self.links.append(value[1:])
        if tag == 'meta' and dict(attrs).get('http-equiv') == 'Content-Security-Policy':
            self.policy = dict(attrs)['content']
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.wrong.append(f'<{tag}/>')

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f'</{tag}> in line {self.getpos()[0]}')

    def handle_data(self, data):
        if self.open and self.open[-1] in ('style', 'script'):
            self.raw.setdefault(self.open[-1], []).append(data)


def problems(content):
    text = content.decode('utf-8')
    page = Page()
    page.feed(text)
    page.close()
    yield from page.wrong[:5]
    if page.open:
        yield f'not closed: {page.open}'
    if re.search(r'[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]', text):
        yield 'a control character'
    for tag in ('style', 'script'):
        parts = page.raw.get(tag, [])
        found = base64.b64encode(hashlib.sha256(''.join(parts).encode()).digest()).decode()
        if text.count(f'<{tag}') != 1:
            yield f'{text.count("<" + tag)} of <{tag}>'
        if f"{tag}-src 'sha256-{found}'" not in page.policy:
            yield f'the policy has not the hash of <{tag}>: sha256-{found}'
    if "default-src 'none'" not in page.policy:
        yield 'the policy lets things load'
    if len(page.ids) != len(set(page.ids)):
        yield 'an id is there twice'
    for link in set(page.links) - set(page.ids):
        yield f'a link to #{link}, which is not there'


def main():
    failed = False
    for path in sys.argv[1:]:
        with open(path, 'rb') as file:
            for problem in problems(file.read()):
                print(f'{path}: {problem}', file=sys.stderr)
                failed = True
    sys.exit(1 if failed else 0)


main()
