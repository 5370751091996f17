"""A Dask cluster: the folds of the walk-forward, trials of a search and the final model, on its workers.

The workers must have the same version of this package. The final model is fitted by LightGBM's own Dask estimator: each
worker has a part of the rows, the trees are grown together over sockets between the workers.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from hft_engine.learn.errors import TrainingError
from hft_engine.learn.training import Workshop
from hft_engine.learn.tuning import Keys, Search
from hft_engine.learn.walking import FoldRun
from hft_engine.persistence import provenance

CONNECT_S = 10.0
_AS_ESTIMATOR = {  # what LightGBM's estimators call its parameters
    "min_data_in_leaf": "min_child_samples",
    "feature_fraction": "colsample_bytree",
    "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq",
    "lambda_l2": "reg_lambda",
    "seed": "random_state",
}
_OWN = ("num_class", "num_threads")  # that it finds itself: the labels' and the workers'


class Cluster:
    """Of a scheduler's ``address``, such as tcp://127.0.0.1:8786; a context that closes the connection.

    Raises TrainingError where the extra is not there, nobody answers, there is no worker, or one has other code.
    """

    def __init__(self, address: str) -> None:
        try:
            import dask.array  # noqa: F401
            import distributed
        except ImportError:
            raise TrainingError("--dask needs Dask: pip install 'hft-engine[dask]'") from None
        try:
            self._client: Any = distributed.Client(address, timeout=f"{CONNECT_S:g}s", set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise TrainingError(
                f"--dask {address}: no Dask scheduler answers there ({error}); start one with `dask scheduler` and "
                "name the address that it shows, tcp://HOST:8786"
            ) from error
        try:
            self._check_workers(address)
        except BaseException:
            self._client.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def workers(self) -> int:
        return len(self._client.nthreads())

    @property
    def workshop(self) -> Workshop:
        """For ``training.train``."""
        return Workshop(self._map, self._fit_final)

    def score(self, search: Search, trials: Sequence[Keys]) -> Sequence[float]:
        """For ``tuning.tune``: a task for each trial."""
        shared = self._client.scatter(search, broadcast=True)
        futures = [self._client.submit(_score, shared, keys, pure=False) for keys in trials]
        return [float(loss) for loss in self._client.gather(futures)]

    def _map(self, run: Callable[[int], FoldRun | None], numbers: Iterable[int]) -> Iterator[FoldRun | None]:
        shared = self._client.scatter(run, broadcast=True)
        futures = [self._client.submit(_run, shared, number, pure=False) for number in numbers]
        return (future.result() for future in futures)

    def _fit_final(
        self, params: Keys, rows: np.ndarray, classes: np.ndarray, names: tuple[str, ...], trees: int
    ) -> Any:
        import dask.array
        import lightgbm

        length = math.ceil(len(rows) / self.workers)
        own = {_AS_ESTIMATOR.get(key, key): value for key, value in params.items() if key not in _OWN}
        model = lightgbm.DaskLGBMClassifier(
            client=self._client, n_estimators=trees, tree_learner="data", **own
        )
        with self._client.as_current(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")  # said of its own default
            model.fit(
                dask.array.from_array(rows, chunks=(length, rows.shape[1])),
                dask.array.from_array(classes, chunks=length),
                feature_name=list(names),
            )
        return model.booster_

    def _check_workers(self, address: str) -> None:
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError:
            raise TrainingError(
                f"--dask {address}: the scheduler has no worker; start some: `dask worker {address}`"
            ) from None
        ours = provenance.code().source_hash
        for worker, theirs in self._client.run(_source_hash).items():
            if theirs != ours:
                raise TrainingError(
                    f"--dask {address}: worker {worker} has another version of hft_engine; install the same on all"
                )


def _source_hash() -> str:
    return provenance.code().source_hash


def _run(run: Callable[[int], FoldRun | None], number: int) -> FoldRun | None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return run(number)


def _score(search: Search, keys: Keys) -> float:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return search.score(keys)
