import pytest
from publisher_bench import Bench


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(*args, **kwargs):
        made.append(Bench(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
