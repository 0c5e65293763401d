"""Texts with a meaning: HTML, e-mail addresses, telephone numbers, countries and languages."""

import re
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

LOCALES = ("en", "de", "fr", "es")
"""The languages in which names of countries and languages are understood."""

_BLOCKS = frozenset(
    "address article blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre section table tr ul".split()
)
_SILENT = frozenset(("script", "style", "head", "title"))
_EMAIL = re.compile(
    r"[^\s\x00-\x1f@<>\",;:()\[\]\\]+@[^\s\x00-\x1f@<>\",;:()\[\]\\.]+(?:\.[^\s\x00-\x1f@<>\",;:()\[\]\\.]+)*"
)
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self.silent = max(0, self.silent - 1)
        if tag in _BLOCKS and tag != "br":
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.parts.append(re.sub(r"\s+", " ", data))


def html_to_text(html: str) -> str:
    """Give the text of an HTML fragment: blocks on lines of their own, no scripts, no more than one empty line."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = [line.strip().replace("\xa0", " ") for line in "".join(parser.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def email(text: str) -> str | None:
    """Give an address trimmed and in lower case, or None for what cannot be one: the record stays."""
    address = text.strip().lower()
    if address.startswith("mailto:"):
        address = address[7:]
    return address if len(address) <= 254 and _EMAIL.fullmatch(address) else None


@lru_cache(maxsize=4096)
def phone(text: str, region: str | None = None) -> str | None:
    """Give a telephone number in E.164 where it parses (with `region` for national ones), else the text as it is."""
    import phonenumbers

    raw = text.strip()
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return raw or None
    short = len(str(number.national_number)) < 5
    if short or number.extension or not phonenumbers.is_possible_number(number):
        return raw
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _fold(name: str) -> str:
    return re.sub(r"[\s.\-_']+", " ", name).strip().casefold()


@lru_cache(maxsize=1)
def _countries() -> dict[str, str]:
    from babel import Locale
    from babel.core import get_global

    english: dict[str, str] = dict(Locale("en").territories)
    codes = {code for code in english if len(code) == 2 and code.isalpha()} - {"EU", "EZ", "UN", "ZZ"}
    names = {"uk": "GB", "great britain": "GB", "england": "GB", "usa": "US", "america": "US", "holland": "NL"}
    for alias, targets in get_global("territory_aliases").items():
        if len(alias) == 3 and len(targets) == 1:
            names[_fold(alias)] = targets[0]
    for locale in LOCALES:
        for code, name in Locale(locale).territories.items():
            if code in codes:
                names.setdefault(_fold(str(name)), str(code))
    return names | {code.casefold(): code for code in codes} | {"uk": "GB"}


@lru_cache(maxsize=1024)
def country(text: str) -> str | None:
    """Give ISO 3166-1 alpha-2 for a code (alpha-2, alpha-3, numeric) or a name in one of LOCALES, else None."""
    return _countries().get(_fold(text))


@lru_cache(maxsize=1)
def _languages() -> dict[str, str]:
    from babel import Locale

    pairs = ((str(name), str(code)) for loc in LOCALES for code, name in Locale(loc).languages.items())
    return {_fold(name): code.replace("_", "-") for name, code in pairs}


@lru_cache(maxsize=1024)
def language(text: str) -> str | None:
    """Give a BCP 47 tag for a tag in any case and punctuation, or for a name in one of LOCALES, else None."""
    raw = text.strip()
    if not _TAG.fullmatch(raw):
        return _languages().get(_fold(raw))
    first, *rest = re.split(r"[-_]", raw)
    return "-".join([first.lower(), *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    if len(part) == 2 and part.isalpha():
        return part.upper()
    return part.title() if len(part) == 4 and part.isalpha() else part.lower()
