"""Amounts: minor units and a currency, exact, never a float."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Invalid
from hub.money import Money, currency_code, exponent, from_major, parse, to_major

CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KWD", "CLF", "GBP"])


@given(st.integers(-(10**15), 10**15), CURRENCIES)
def test_minor_units_survive_a_trip_through_major_units(amount, currency):
    money = Money(amount, currency)
    assert from_major(to_major(money), currency) == money


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12), CURRENCIES)
def test_an_amount_is_exact_or_refused(value, currency):
    try:
        money = from_major(value, currency)
    except Invalid:
        assert value != value.quantize(Decimal(1).scaleb(-exponent(currency)))
    else:
        assert Decimal(money.amount) == value.scaleb(exponent(currency))


@pytest.mark.parametrize("value", [1.5, True, None, "", "12,50", "NaN", "Infinity", "1e999999", "12.505", b"1"])
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(Invalid):
        from_major(value, "EUR")


@pytest.mark.parametrize("value", ["", "EU", "EURO", "12€", None, 978])
def test_what_is_no_currency_is_refused(value):
    with pytest.raises(Invalid):
        currency_code(value)


def test_yen_have_no_minor_digits_and_dinars_have_three():
    assert from_major("1200", "jpy") == Money(1200, "JPY")
    assert from_major("1.234", "KWD") == Money(1234, "KWD")
    with pytest.raises(Invalid, match="JPY has 0 minor digits"):
        from_major("12.5", "JPY")


def test_policies_write_amounts_as_number_and_currency():
    assert parse("50.00 EUR") == Money(5000, "EUR")
    assert str(Money(5000, "EUR")) == "50.00 EUR"
    with pytest.raises(Invalid):
        parse("50.00")
