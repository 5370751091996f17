import pytest
from signals_bench import Bench, signals_config


@pytest.fixture
def bench(tmp_path_factory):
    def make(*rules, **settings):
        shape = {k: settings.pop(k) for k in ("instruments_max", "capacity", "gating") if k in settings}
        return Bench(tmp_path_factory.mktemp("run"), signals_config(*rules, **settings), **shape)

    return make
