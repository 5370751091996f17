import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from benchmarks import harness, hgrm, report_page
from hdrh.histogram import HdrHistogram

VALUES = np.random.default_rng(5).lognormal(10.0, 1.0, 5_000).astype(np.int64)


def test_a_percentile_file_says_what_the_reference_implementation_says() -> None:
    reference = HdrHistogram(1, (1 << 36) - 1, 3)
    for value in VALUES.tolist():
        reference.record_value(value)
    lines = [line.split() for line in hgrm.text(hgrm.of_values(VALUES)).splitlines()[2:]]
    steps = [line for line in lines if not line[0].startswith("#")]
    assert len(steps) > 50
    for value_us, quantile, so_far, *_ in steps[1:]:
        beside = (int(so_far) + step for step in (-1, 1))  # ranks: it rounds a share to one in its own way
        low, high = (
            reference.get_value_at_percentile(100.0 * min(rank / len(VALUES), 1.0)) for rank in beside
        )
        assert low * 0.998 <= float(value_us) * 1e3 <= high * 1.002
        assert int(so_far) / len(VALUES) == pytest.approx(float(quantile), abs=1 / len(VALUES))
    assert float(steps[-1][1]) == 1.0
    assert int(steps[-1][2]) == len(VALUES)


def test_the_tail_names_mean_deviation_maximum_and_count() -> None:
    tail = hgrm.text(hgrm.of_values(VALUES)).split("#", 1)[1]
    mean, deviation, most, count = (float(n) for n in re.findall(r"= +([0-9.]+)", tail)[:4])
    assert mean == pytest.approx(VALUES.mean() / 1e3, rel=1e-3)
    assert deviation == pytest.approx(VALUES.std() / 1e3, rel=5e-3)
    assert (most, count) == (pytest.approx(VALUES.max() / 1e3, rel=1e-3), len(VALUES))


def test_runs_are_joined_and_an_empty_histogram_is_a_file_too() -> None:
    whole = hgrm.joined([hgrm.of_values(VALUES[:10]), hgrm.of_values(VALUES[10:])])
    assert (whole == hgrm.of_values(VALUES)).all()
    assert "Total count    =            0]" in hgrm.text(hgrm.joined([]))


def test_the_page_holds_tables_pictures_and_nothing_from_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = harness.Report("sample", harness.options("A sample.", ["--hdr", str(tmp_path / "hdr")]))
    report.latencies("here", [hgrm.of_values(VALUES)])
    report.latencies("there", [hgrm.of_values(VALUES * 3), hgrm.of_values(VALUES)])
    report.add("delay_us", [130.0], "us", ("a <peer>", [100.0]), target=120.0)
    report.leave_out("b", "no module b")
    report.finish()
    last = json.loads(capsys.readouterr().out.rstrip("\n").split("\n")[-1])
    run = {"machine": last["machine"], "reports": [last], "results": last["results"]}
    page = report_page.write(tmp_path, run).read_text()
    assert "delay_us" in page
    assert "a &lt;peer&gt;" in page
    assert "120 missed" in page
    assert "Left out: b" in page
    assert page.count("<polyline") == 2
    assert not re.search(r"(src|href)=", page)
    drawn = ElementTree.fromstring((tmp_path / "sample.svg").read_text())
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 2
