"""Amounts of money: integer minor units and an ISO 4217 currency, never a float."""

import re
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

import msgspec

from hub.errors import Invalid

_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_EXPONENT = {code: digits for digits, codes in _EXPONENTS.items() for code in codes.split()}
_MOST_DIGITS = 18
_EXACT = Context(prec=1000, traps=[])
_CURRENCY = re.compile(r"[A-Z]{3}")


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units (cents) of `currency` (ISO 4217, upper case)."""

    amount: int
    currency: str

    def __str__(self) -> str:
        return f"{to_major(self)} {self.currency}"


def currency_code(value: str) -> str:
    """Normalise a currency code to upper case. Raises Invalid unless it is three letters."""
    return _code(value if isinstance(value, str) else "")


@lru_cache(maxsize=512)
def _code(text: str) -> str:
    code = text.strip().upper()
    if not _CURRENCY.fullmatch(code):
        raise Invalid("a currency is three letters, such as EUR", code="invalid_currency")
    return code


def exponent(currency: str) -> int:
    """Give the number of minor digits of a currency: 2 for most, 0 for JPY, 3 for KWD (ISO 4217)."""
    return _EXPONENT.get(currency, 2)


def from_major(value: str | int | Decimal, currency: str) -> Money:
    """
    Turn "12.50" and "EUR" into 1250 minor units.

    Raises Invalid for a float, for what is no number, and for more digits than the currency has.
    """
    code = currency_code(currency)
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise Invalid("an amount is a decimal string or an integer, never a float", code="invalid_amount")
    try:
        major = Decimal(value)
    except InvalidOperation as exc:
        raise Invalid('an amount is a decimal number such as "12.50"', code="invalid_amount") from exc
    if not major.is_finite() or major.adjusted() > _MOST_DIGITS:
        raise Invalid('an amount is a decimal number such as "12.50"', code="invalid_amount")
    minor = _EXACT.scaleb(major, exponent(code))
    whole = int(minor)
    if minor != whole:
        raise Invalid(f"{code} has {exponent(code)} minor digits; the amount has more", code="invalid_amount")
    return Money(whole, code)


def to_major(money: Money) -> str:
    """Give the amount in major units as a plain decimal string: 1250 EUR is "12.50"."""
    return format(Decimal(money.amount).scaleb(-exponent(money.currency)), "f")


def parse(text: str) -> Money:
    """Read "50.00 EUR" as policies write it. Raises Invalid."""
    number, _, code = text.strip().partition(" ")
    if not code:
        raise Invalid('an amount of money is written as "50.00 EUR"', code="invalid_amount")
    return from_major(number, code)
