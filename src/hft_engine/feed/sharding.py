"""Which connection of a line holds which symbols, where the venue limits how many one may hold."""

from collections.abc import Sequence


def spread(symbols: Sequence[str], parts: Sequence[Sequence[str]], most: int) -> list[tuple[str, ...]]:
    """``parts`` so changed that together they hold exactly ``symbols``, each at most ``most`` (0 = no limit).

    What is held stays where it is: moving a subscription loses ticks. What is new goes where the fewest are, and
    into new parts when all are full. Parts that are left empty stay in their places. There is one part at least.
    """
    wanted = dict.fromkeys(symbols)
    kept = [[symbol for symbol in part if symbol in wanted] for part in parts] or [[]]
    held = {symbol for part in kept for symbol in part}
    new = [symbol for symbol in wanted if symbol not in held]
    limit = most or len(wanted)
    for _ in range(-(-(len(wanted) - len(kept) * limit) // limit) if limit else 0):
        kept.append([])
    for symbol in new:
        min(kept, key=len).append(symbol)
    return [tuple(part) for part in kept]
