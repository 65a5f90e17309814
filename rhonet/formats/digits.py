"""Numbers as text in columns of fixed width, many at once."""

from __future__ import annotations

import numpy as np

WIDTH = 18
LEAST, MOST = 1e-99, 9.9999999999e99
_DIGITS = 11
_HALF = 5  # digits that one look-up gives; the leading digit stands alone
_POWERS = 10.0 ** np.arange(-90, 112)
_DIGIT_TABLE = (np.arange(10**_HALF)[:, None] // 10 ** np.arange(_HALF - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
_EXPONENT_TABLE = np.array([list(f"E{exponent:+03d}".encode()) for exponent in range(-99, 100)], np.uint8)


def rows_of_numbers(values: np.ndarray, *, columns: int) -> memoryview:
    """Text of numbers, each row of the array on lines of its own with at most `columns` numbers.

    Every number takes 18 characters, with 11 significant digits: " -1.2345678901E-05". The last digit is right to
    one unit (where the value lies halfway between two). Numbers below 1e-99 become zero.

    Args:
        values: (rows, n), finite.
        columns: numbers to the line.

    Returns:
        ASCII text of all rows, ready to be written to a file.

    Raises:
        ValueError: a number is too large for two digits of exponent.
    """
    rows, n = values.shape
    largest = np.abs(values).max(initial=0)
    if not largest <= MOST:
        raise ValueError(f"{largest:.6g} is too large to be written")
    ends = -(-n // columns)
    text = np.empty((rows, n * WIDTH + ends), np.uint8)
    characters = _characters(values.ravel()).reshape(rows, n * WIDTH)
    line = columns * WIDTH
    for number in range(ends):
        part = characters[:, number * line : (number + 1) * line]
        start = number * (line + 1)
        text[:, start : start + part.shape[1]] = part
        text[:, start + part.shape[1]] = ord("\n")
    return text.data


def _characters(values: np.ndarray) -> np.ndarray:
    """Each of the values (n,) as 18 characters, (n, 18) uint8."""
    size = np.abs(values)
    size[size < LEAST] = 0
    exponent = np.floor(np.log10(size, where=size > 0, out=np.zeros_like(size))).astype(np.int64)
    mantissa = np.rint(size * _POWERS[_DIGITS - 1 - exponent + 90]).astype(np.int64)
    # 9.99999999999 rounds up to 10, and the logarithm may come out just below a power of ten.
    rounded_up = mantissa >= 10**_DIGITS
    mantissa[rounded_up] //= 10
    exponent += rounded_up
    leading, rest = np.divmod(mantissa, 10 ** (_DIGITS - 1))
    first, second = np.divmod(rest, 10**_HALF)
    text = np.empty((len(values), WIDTH), np.uint8)
    text[:, 0] = ord(" ")
    text[:, 1] = np.where(values < 0, ord("-"), ord(" "))
    text[:, 2] = leading + ord("0")
    text[:, 3] = ord(".")
    text[:, 4:9] = _DIGIT_TABLE[first]
    text[:, 9:14] = _DIGIT_TABLE[second]
    text[:, 14:] = _EXPONENT_TABLE[exponent + 99]
    return text
