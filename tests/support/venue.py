"""The venue simulator as a program of its own, as ``hft sim`` runs it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.engine import ROOT


@contextmanager
def venue(api_key: str, *options: str, vendor: str = "polygon") -> Iterator[str]:
    """The url of a running venue that accepts ``api_key``; of one that is REST and nothing else, that of its REST."""
    rest = "--rest" if vendor == "alphavantage" else "--no-rest"
    command = [sys.executable, "-m", "hft_engine", "sim", vendor, rest, "--api-key", api_key]
    command += options
    environment = {name: value for name, value in os.environ.items() if name != "HFT_RUN_ROOT"}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield _url(process)
        finally:
            process.terminate()
            process.communicate(timeout=40)


def _url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"(ws|http)://[\w.:/]+", line):
            return found.group()
    raise AssertionError("the simulated venue ended before it said where it listens")
