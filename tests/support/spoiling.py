"""A seeded generator that spoils frames in every way that comes to mind.

More than half of what it makes is still plain (other numbers, symbols, codes, keys in another order): there the
scanner has to give the decoder's rows. The rest is odd or broken: there it has to know its limits.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from support.venue_frames import Fields, joined, parsed

T = TypeVar("T")

PLAIN_CODES = (b"[]", b"[12]", b"[14,41]", b"[14,37,41]", b"[37]", b"[1,2,3,4]", b"[0]", b"[604]", b"[10,5]")
PLAIN_EXTRAS = ((b'"trfi"', b"12"), (b'"pt"', b"1.5"), (b'"a_long_field_name"', b'"text"'), (b'"n"', b"0"))
ODD_NUMBERS = (
    b"0", b"0.0", b"-0", b"-0.0", b"-1", b"-161.87", b"+1", b"00", b"01", b"007.5", b"1.", b".5", b".", b"-", b"1e5",
    b"1E-5", b"1e+400", b"-1e400", b"1e-400", b"4.9e-324", b"2.2250738585072011e-308", b"1.7976931348623157e308",
    b"65535", b"65536", b"65537", b"32768", b"2147483648", b"4294967296", b"9007199254740991", b"9007199254740992",
    b"9007199254740993", b"90071992547409.93", b"90071992547.40991", b"9223372036854775807", b"9223372036854775808",
    b"18446744073709551615", b"18446744073709551616", b"123456789012345678", b"1234567890123456789", b"9" * 40,
    b"0.1234567890123456789", b"0.000000000000000001", b"0.30000000000000004", b"1.0", b"12.0", b"100000000000",
    b"99999999999", b"99999999999999", b"100000000000000", b"100000000000000000", b"9223372036854", b"9223372036855",
    b"NaN", b"Infinity", b"-Infinity", b"inf", b"1_0", b"0x10", b"1,5", b"1 2", b"\xd9\xa1", b"1651684192462000",
)  # fmt: skip
ODD_TEXTS = (
    b'""', b'" "', b'"AAPL "', b'"aapl"', b'"A"', b'"AAPLAAPL"', b'"AAPLAAPLA"', b'"' + b"X" * 24 + b'"',
    b'"' + b"X" * 25 + b'"', b'"' + b"X" * 300 + b'"', b'"\\u0041APL"', b'"AAP\\u004c"', b'"\\n"', b'"\\""', b'"\\\\"',
    b'"\\x41"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xc3\xa9"', b'"\xf0\x9f\x98\x80"', b'"\xff"', b'"\xc3"',
    b'"\x00"', b'"\x1f"', b'"\x7f"', b'"A\nB"', b'"5096"', b'"050"', b'"-5"', b'" 5"', b'"5 "', b'"1_0"', b'"5e3"',
    b'"12345678901234567890"', b'"\xd9\xa1"', b'"0.25"', b'"1e3"', b'"nan"', b'"inf"', b'"T', b'T"', b"'AAPL'", b'"',
)  # fmt: skip
ODD_VALUES = (
    b"null", b"true", b"false", b"nul", b"{}", b"[]", b"[[]]", b"[[14]]", b'{"a":1}', b'{"a":[{"b":null}]}', b"[14",
    b"14]", b"[14,]", b"[,14]", b"[014]", b"[14.0]", b'["14"]', b"[-1]", b"[14 ,41]", b"[14, 41]", b"[1,2,3,4,5]",
    b"[65534]", b"[65535]", b"[65536]", b"[999]", b"[26]", b"[null]", b"[1e1]", b"[18446744073709551616]", b"",
    b"[" * 40 + b"]" * 40, b"[" * 2000, b'{"a":' * 30 + b"1" + b"}" * 30,
)  # fmt: skip
ODD_KEYS = (
    b'"\\u0070"', b'"P"', b'"p "', b'""', b'"pp"', b'"sym\x00"', b"p", b'"p', b'"' + b"k" * 70 + b'"', b'"\xc3\xa9"',
)  # fmt: skip
HOT_KINDS = (b'"T"', b'"Q"', b'"A"', b'"AM"')
KINDS = (*HOT_KINDS, b'"LULD"', b'"FMV"', b'"status"', b'"NOI"', b'"XT"', b'"TT"', b'"t"', b'""', b"1")
DIGITS = tuple(bytes((sign,)) for sign in b'0123456789.,"')
REACHES = (0, 0, 1, 1, 2, 5, 12)  # bytes that go with a change
SPACES = (b" ", b"\n", b"\t", b"\r\n", b"  ", b"\x0b", b"\xc2\xa0", b"\xef\xbb\xbf", b"/**/", b"\x00")
FRAGMENTS = (
    b'"', b"\\", b",", b"{", b"}", b"[", b"]", b":", b".", b"-", b"+", b"0", b"00", b"1", b"9", b"e5", b"E-3", b" ",
    b"\n", b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"null", b"true", b"1e400", b'"x":1,', b'"p":2.5,',
    b'"ds":"1.5",', b'"zz":[1],', b'"zz":"y",', b'"c":[37],', b'"i":[1,2],', b'"bp":null,', b'"q":5,', b"{}",
    b'"\\u0041"', b'"ev":"Q",', b",14", b"[]", b'},{"ev":"T"', b"}]", b"[{", b'{"ev":"',
)  # fmt: skip

# Of all frames: plain below, with an odd value between, broken text from there on.
ODD_FROM, BROKEN_FROM = 0.60, 0.80
RARE = 0.10  # frames of kinds that are not the scanner's


class Spoiler:
    """An endless supply of spoilt frames, the same ones for the same ``seed``."""

    def __init__(self, frames: Sequence[bytes], seed: object) -> None:
        self._random = random.Random(str(seed))
        self._all = [events for events in map(parsed, frames) if events]
        self._hot = [events for events in self._all if events[0][0][1] in HOT_KINDS]
        named = {value for events in self._all for event in events for key, value in event if key == b'"sym"'}
        self._symbols = sorted(named)

    def frame(self) -> bytes:
        """The next one."""
        kind, way = self._random.random(), self._random.random()
        events = [list(event) for event in self._pick(self._all if kind < RARE else self._hot)]
        for _ in range(self._below(4)):
            self._pick(PLAIN)(self, events)
        if ODD_FROM <= way < BROKEN_FROM:
            for _ in range(self._pick((1, 1, 1, 2))):
                self._pick(ODD)(self, events)
        text = joined(events)
        if way >= BROKEN_FROM:
            for _ in range(self._pick((1, 1, 2, 3))):
                text = self._pick(BROKEN)(self, text)
        return text

    def _below(self, count: int) -> int:
        return int(self._random.random() * count)  # many times faster than randrange

    def _pick(self, items: Sequence[T]) -> T:
        return items[int(self._random.random() * len(items))]

    def _event(self, events: list[Fields]) -> Fields:
        """One of the events; of a frame that has none left, a new one."""
        if not events:
            events.append([(b'"ev"', b'"T"')])
        return self._pick(events)

    def _spot(self, event: Fields) -> int:
        """The place of a field, ``ev`` spared while there are others."""
        return 1 + self._below(len(event) - 1) if len(event) > 1 else 0

    def _new_value(self, event: Fields, value: bytes) -> None:
        if event:
            at = self._spot(event)
            event[at] = event[at][0], value

    # ---- plain: as the venue might have sent it

    def number(self, events: list[Fields]) -> None:
        event = self._event(events)
        for at in range(len(event)):
            key, value = event[at]
            if value[:1].isdigit() and self._random.random() < 0.5:
                event[at] = key, self._like(value)

    def _like(self, value: bytes) -> bytes:
        """Another number of nearly the same size, that a float holds exactly or not; never with a leading zero."""
        at = 1 + self._below(len(value) - 1) if len(value) > 1 else 0
        digit = b"%d" % (1 + self._below(9))
        if value[at : at + 1] == b".":
            return value + digit
        return value[:at] + digit + value[at + 1 :]

    def order(self, events: list[Fields]) -> None:
        event = self._event(events)
        rest = event[1:]
        self._random.shuffle(rest)
        event[1:] = rest

    def drop(self, events: list[Fields]) -> None:
        event = self._event(events)
        if len(event) > 1:
            del event[self._spot(event)]

    def symbol(self, events: list[Fields]) -> None:
        event = self._event(events)
        for at, (key, _) in enumerate(event):
            if key == b'"sym"':
                event[at] = key, self._pick(self._symbols)

    def codes(self, events: list[Fields]) -> None:
        event = self._event(events)
        for at, (key, value) in enumerate(event):
            if value[:1] == b"[":
                event[at] = key, self._pick(PLAIN_CODES)

    def extra(self, events: list[Fields]) -> None:
        event = self._event(events)
        event.insert(1 + self._below(len(event)), self._pick(PLAIN_EXTRAS))

    def again(self, events: list[Fields]) -> None:
        """An event twice: a duplicate, if it is a trade."""
        events.insert(self._below(len(events) + 1), list(self._event(events)))

    def fewer(self, events: list[Fields]) -> None:
        if len(events) > 1:
            del events[self._below(len(events))]

    def more(self, events: list[Fields]) -> None:
        events += [list(event) for event in self._pick(self._hot)]

    # ---- odd: JSON still, most of it, and not what was agreed on

    def odd_number(self, events: list[Fields]) -> None:
        self._new_value(self._event(events), self._pick(ODD_NUMBERS))

    def odd_text(self, events: list[Fields]) -> None:
        self._new_value(self._event(events), self._pick(ODD_TEXTS))

    def odd_value(self, events: list[Fields]) -> None:
        self._new_value(self._event(events), self._pick(ODD_VALUES))

    def odd_symbol(self, events: list[Fields]) -> None:
        event = self._event(events)
        for at, (key, _) in enumerate(event):
            if key == b'"sym"':
                event[at] = key, self._pick(ODD_TEXTS)

    def quoted(self, events: list[Fields]) -> None:
        """A number as text, or text as it stands."""
        event = self._event(events)
        if event:
            key, value = event[at := self._spot(event)]
            event[at] = key, value[1:-1] if value[:1] == b'"' else b'"%s"' % value

    def twice(self, events: list[Fields]) -> None:
        """A key twice, with the same value or another's."""
        event = self._event(events)
        if event:
            key, value = self._pick(event)
            value = self._pick((value, self._pick(event)[1], self._pick(ODD_NUMBERS)))
            event.insert(self._below(len(event) + 1), (key, value))

    def odd_key(self, events: list[Fields]) -> None:
        event = self._event(events)
        if event:
            at = self._below(len(event))
            event[at] = self._pick((*ODD_KEYS, self._pick(event)[0])), event[at][1]

    def kind(self, events: list[Fields]) -> None:
        """Another kind of event with the same fields."""
        event = self._event(events)
        if event:
            event[0] = event[0][0], self._pick(KINDS)

    def later(self, events: list[Fields]) -> None:
        """``ev`` not first."""
        event = self._event(events)
        if event:
            event.append(event.pop(0))

    def nested(self, events: list[Fields]) -> None:
        event = self._event(events)
        if event:
            key, value = event[at := self._spot(event)]
            event[at] = key, self._pick((b"[%s]", b'{"a":%s}', b"[[%s]]", b"[%s,1]", b'[{"b":%s}]')) % value

    def unknown(self, events: list[Fields]) -> None:
        """A field that nobody asked for, with an odd value."""
        event = self._event(events)
        value = self._pick(self._pick((ODD_NUMBERS, ODD_TEXTS, ODD_VALUES)))
        event.insert(1 + self._below(len(event)), (b'"new"', value))

    def space(self, events: list[Fields]) -> None:
        event = self._event(events)
        if event:
            at = self._below(len(event))
            key, value = event[at]
            space = self._pick(SPACES)
            around_key = (space + key, value), (key + space, value)
            around_value = (key, space + value), (key, value + space)
            event[at] = self._pick((*around_key, *around_value))

    def none(self, events: list[Fields]) -> None:
        self._event(events).clear()

    # ---- broken: bytes, whatever they mean

    def flipped(self, text: bytes) -> bytes:
        at = self._below(len(text))
        return text[:at] + bytes((text[at] ^ 1 << self._below(8),)) + text[at + 1 :] if text else text

    def other(self, text: bytes) -> bytes:
        at = self._below(len(text) + 1)
        return text[:at] + bytes((self._below(256),)) + text[at + 1 :]

    def digit(self, text: bytes) -> bytes:
        at = self._below(len(text) + 1)
        return text[:at] + self._pick(DIGITS) + text[at + 1 :]

    def put(self, text: bytes) -> bytes:
        at = self._below(len(text) + 1)
        return text[:at] + self._pick(FRAGMENTS) + text[at + self._pick(REACHES) :]

    def spaced(self, text: bytes) -> bytes:
        at = self._pick((0, len(text), self._below(len(text) + 1)))
        return text[:at] + self._pick(SPACES) + text[at:]

    def less(self, text: bytes) -> bytes:
        at = self._below(len(text) + 1)
        return text[:at] + text[at + 1 + self._pick(REACHES) :]

    def repeated(self, text: bytes) -> bytes:
        at, reach = self._below(len(text) + 1), 1 + self._pick(REACHES)
        return text[: at + reach] + text[at:]

    def swapped(self, text: bytes) -> bytes:
        """Two pieces change places."""
        a, b, c = sorted((self._below(len(text) + 1), self._below(len(text) + 1), self._below(len(text) + 1)))
        return text[:a] + text[b:c] + text[a:b] + text[c:]

    def tokens(self, text: bytes) -> bytes:
        """Two neighbours between commas change places."""
        parts = text.split(b",")
        at = self._below(len(parts))
        parts[at - 1], parts[at] = parts[at], parts[at - 1]
        return b",".join(parts)

    def cut(self, text: bytes) -> bytes:
        return text[: self._below(len(text) + 1)]

    def wrapped(self, text: bytes) -> bytes:
        return self._pick((b"[%s]", b"%s%s", b"[%s,%s]", b"%s]", b"[%s", b"%s\0")).replace(b"%s", text)


PLAIN: Sequence[Callable[[Spoiler, list[Fields]], None]] = (
    Spoiler.number, Spoiler.number, Spoiler.number, Spoiler.number, Spoiler.order, Spoiler.drop, Spoiler.symbol,
    Spoiler.codes, Spoiler.extra, Spoiler.again, Spoiler.fewer, Spoiler.fewer, Spoiler.more,
)  # fmt: skip
ODD: Sequence[Callable[[Spoiler, list[Fields]], None]] = (
    Spoiler.odd_number, Spoiler.odd_number, Spoiler.odd_number, Spoiler.odd_text, Spoiler.odd_value,
    Spoiler.odd_symbol, Spoiler.quoted, Spoiler.twice, Spoiler.odd_key, Spoiler.kind, Spoiler.later, Spoiler.nested,
    Spoiler.unknown, Spoiler.space, Spoiler.none,
)  # fmt: skip
BROKEN: Sequence[Callable[[Spoiler, bytes], bytes]] = (
    Spoiler.flipped, Spoiler.other, Spoiler.digit, Spoiler.digit, Spoiler.put, Spoiler.put, Spoiler.spaced,
    Spoiler.less, Spoiler.repeated, Spoiler.swapped, Spoiler.tokens, Spoiler.cut, Spoiler.wrapped,
)  # fmt: skip
