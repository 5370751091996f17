import tempfile
from pathlib import Path

import pytest
from views_bench import FakeRun


@pytest.fixture
def fake_run():
    made = []
    # Not tmp_path: a run directory must be short enough for the names of its sockets.
    with tempfile.TemporaryDirectory(prefix="hft-") as root:

        def make(**kwargs):
            made.append(FakeRun(Path(root), **kwargs))
            return made[-1]

        yield make
        for run in made:
            run.directory.remove()
