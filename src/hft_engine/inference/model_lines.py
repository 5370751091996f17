"""The lines of a model's trees, found and read by compiled code: without the interpreter's lock, while ticks flow.

Numbers are read by C's ``strtod``, correctly rounded, as ``float`` does. In a locale with another decimal point every
fraction would be refused, never misread.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from hft_engine.kernel import kernel

_DIGITS_MAX = 15  # a whole number of so many is exact in a float64
_SPACE, _NEWLINE, _MINUS, _ZERO, _NINE, _EQUALS = (np.uint8(ord(c)) for c in " \n-09=")
_HEX = np.uint8(ord("x"))
_LOWER = np.uint8(0x20)


class Lines:
    """The ``key=value`` lines of ``text``, each tree's from a line ``Tree=`` on, by which it must begin.

    ``starts``: int64[trees + 1], where the trees begin, and the end. Of a key that a tree has twice the last counts.
    """

    def __init__(self, text: bytes, keys: tuple[str, ...]) -> None:
        self.text = text
        self._keys = keys
        self._bytes = np.frombuffer(text, np.uint8)
        trees = 1 + text.count(b"\nTree=")
        names = np.array(["Tree", *keys], "S").view(np.uint8).reshape(1 + len(keys), -1)
        self.starts = np.full(trees + 1, len(text), np.int64)
        self._spans = np.full((len(keys), trees, 2), -1, np.int64)
        _find(self._bytes, names, self.starts, self._spans)

    def has(self, key: str) -> NDArray[np.bool_]:
        """Of each tree whether it has the key."""
        return self._of(key)[:, 0] >= 0

    def value(self, key: str, tree: int) -> str | None:
        """As it stands there; None without the key."""
        begin, end = self._of(key)[tree]
        return self.text[begin:end].decode(errors="replace") if begin >= 0 else None

    def numbers(self, key: str, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
        """(``counts`` numbers a tree, one tree's after the other; the first tree that has not so many, else -1)."""
        spans = self._of(key)
        short = np.flatnonzero(
            counts > (spans[:, 1] - spans[:, 0] + 1) // 2
        )  # a damaged count allocates nothing
        if len(short):
            return np.empty(0), int(short[0])
        values = np.empty(int(counts.sum()))
        return values, int(_read(self._bytes, spans, counts, values, np.empty(1, np.uint64)))

    def _of(self, key: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._spans[self._keys.index(key)]
        return found


@intrinsic
def _strtod(typingctx: Any, address: Any, ends: Any) -> Any:
    """strtod(3) of the text at ``address``; the address behind the number goes to ``ends[0]``. By symbol name, so that
    the kernel can be cached.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        char = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.DoubleType(), [char, char.as_pointer()])
        strtod = cgutils.get_or_insert_function(builder.module, kind, "strtod")
        behind = builder.inttoptr(args[1], char.as_pointer())
        return builder.call(strtod, [builder.inttoptr(args[0], char), behind])

    return types.float64(types.uint64, types.uint64), codegen


@kernel(cache=True)
def _find(text, names, starts, spans):  # type: ignore[no-untyped-def]
    """Writes where each tree begins, and where the values of its keys begin and end."""
    tree, begin = -1, 0
    while begin < len(text):
        end = begin
        equals = -1
        while end < len(text) and text[end] != _NEWLINE:
            if equals < 0 and text[end] == _EQUALS:
                equals = end
            end += 1
        key = _key(text, begin, equals, names)
        if key == 0:
            tree += 1
            starts[tree] = begin
        elif key > 0:
            spans[key - 1, tree, 0], spans[key - 1, tree, 1] = equals + 1, end
        begin = end + 1


@kernel()
def _key(text, begin, end, names):  # type: ignore[no-untyped-def]
    """The row of ``names``, filled up with zeros, that ``text[begin:end]`` is; -1: none."""
    width = names.shape[1]
    for key in range(len(names)):
        same = 0
        while same < width and begin + same < end and names[key, same] == text[begin + same]:
            same += 1
        if begin + same == end and (same == width or names[key, same] == 0):
            return key
    return -1


@kernel(cache=True)
def _read(text, spans, counts, values, behind):  # type: ignore[no-untyped-def]
    """Fills ``values``. The first tree whose line has not just ``counts`` numbers; -1: none. ``behind``: scratch."""
    done = 0
    for tree in range(len(spans)):
        at, end = spans[tree, 0], spans[tree, 1]
        if counts[tree] == 0:
            continue
        last = done + counts[tree]
        while True:
            while at < end and text[at] <= _SPACE:
                at += 1
            if at >= end:
                break
            word = at
            while at < end and text[at] > _SPACE:
                at += 1
            if done == last or not _number(text, word, at, values, done, behind):
                return tree
            done += 1
        if done != last:
            return tree
    return -1


@kernel()
def _number(text, begin, end, values, place, behind):  # type: ignore[no-untyped-def]
    """Whether ``text[begin:end]`` is a number, which goes to ``values[place]``."""
    first = begin + 1 if text[begin] == _MINUS else begin
    whole, at = np.int64(0), first
    while at < end and text[at] >= _ZERO and text[at] <= _NINE:
        whole = whole * 10 + np.int64(text[at] - _ZERO)
        at += 1
    if at == end and 0 < end - first <= _DIGITS_MAX:
        values[place] = -float(whole) if first > begin else float(whole)
        return True
    for k in range(begin, end):
        if text[k] | _LOWER == _HEX:
            return False
    value = _strtod(np.uint64(text.ctypes.data + begin), np.uint64(behind.ctypes.data))
    if behind[0] != np.uint64(text.ctypes.data + end):
        return False
    values[place] = value
    return True
