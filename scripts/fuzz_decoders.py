"""Sends spoilt frames down every way to the tick ring and says whether the ways ever part.

    python scripts/fuzz_decoders.py [--frames 1000000] [--seed 1]

Recorded frames (tests/data/polygon) and frames of the simulated market are spoilt by a seeded generator: other numbers,
keys twice or in another order, escapes, white space, nesting, bytes flipped, cut, moved. Each goes through the general
decoder with every event in Python, through the same with its compiled half, through the compiled scanner with the
decoder behind it, and, cut anywhere, off a socket. Compiled code has to give exactly the rows and counts of Python, or
to refuse the frame having changed nothing.

Prints frames, ticks, how many the scanner and the decoder's compiled half took, seconds (and how many of them on the
processor) and the seed. Exit code 0: no difference; 1: the ways part, and the smallest frame found is shown.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hft_engine.runtime import kernelcache

kernelcache.use()  # before anything imports numba
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.fuzzing import Fuzz  # noqa: E402
from support.venue_frames import market_frames, recorded_frames  # noqa: E402


def run(fuzz: Fuzz, frames: int) -> None:
    """Batches until so many frames were compared, or differences abound."""
    columns = (TextColumn("comparing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=frames)
        while fuzz.frames < frames and not fuzz.full:
            fuzz.batch()
            progress.update(task, completed=min(fuzz.frames, frames))


def outcome(fuzz: Fuzz, seconds: float, seed: int) -> str:
    refused = fuzz.frames - fuzz.taken
    return (
        f"{fuzz.frames:,} spoilt frames, {fuzz.ticks:,} ticks: the scanner took {fuzz.taken:,} "
        f"({fuzz.taken / fuzz.frames:.0%}) and refused {refused:,}, the decoder's compiled half took {fuzz.packed:,} "
        f"({fuzz.packed / fuzz.frames:.0%}); {len(fuzz.differences)} differences; "
        f"{seconds:.0f} s, {time.process_time():.0f} s of them on the processor; seed {seed}"
    )


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames, 1 or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=_positive, default=1_000_000, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    options = parser.parse_args(argv)
    fuzz = Fuzz(recorded_frames() + market_frames(), options.seed)
    started = time.perf_counter()
    run(fuzz, options.frames)
    print(outcome(fuzz, time.perf_counter() - started, options.seed))
    if not fuzz.differences:
        return 0
    found = fuzz.smallest()
    print(f"DIFFERENCE: {found.what}\nsmallest frame found: {found.frame!r}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
