"""Draw top.svg: the screen of `hft top` of an engine that runs now.

.venv/bin/hft start --demo --detach
.venv/bin/python docs/pictures/make_top.py
.venv/bin/hft stop
"""

import io
import re
from pathlib import Path

from rich.console import Console

from hft_engine.config.load import load_config
from hft_engine.runtime import rundir
from hft_engine.views.run import RunView
from hft_engine.views.top import picture

PICTURE = Path(__file__).with_name("top.svg")
COLUMNS = 120


def main() -> None:
    run = RunView(rundir.find_run(load_config(None).engine.run_root))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(picture(run))
    drawn = console.export_svg(title="hft top", unique_id="top")
    # Rich refers to a font on the web; whoever shows the picture has a monospaced font of their own.
    PICTURE.write_text(re.sub(r"@font-face\s*{.*?}\n", "", drawn, flags=re.DOTALL))
    print(f"drew {PICTURE}, run {run.manifest.run_id}")


if __name__ == "__main__":
    main()
