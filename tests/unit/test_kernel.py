"""What ``kernel`` promises: compiled without wrappers where nobody needs them, called from Python all the same."""

import numpy as np

from hft_engine.kernel import direct, kernel


@kernel(forceinline=True)
def _inlined(values: np.ndarray) -> float:
    return 2.0 * values[0]


@kernel()
def _inner(values: np.ndarray) -> float:
    return _inlined(values) + values[1]


@kernel(cache=True)
def _outer(values: np.ndarray) -> float:
    return 10.0 * _inner(values)


def test_inner_kernels_have_no_wrappers_but_for_python_itself() -> None:
    values = np.array([3.0, 4.0])
    assert _outer(values) == 100.0
    _inner.compile(_outer.signatures[0])  # not yet done where the outer one came out of numba's cache
    (code,) = _inner.inspect_llvm().values()
    assert "cpython." not in code and "cfunc." not in code
    assert (_inner(values), _inlined(values)) == (10.0, 6.0)
    assert len(_inner.overloads) == 1, "what Python calls is a kernel of its own"


@kernel(cache=True, nogil=False)
def _scaled(values: np.ndarray, times: int) -> int:
    return int(values[0]) * times


def test_a_direct_call_is_the_kernel_without_its_dispatcher() -> None:
    values = np.array([3, 4])
    call = direct(_scaled, values, 0)
    assert call(values, 1 << 40) == _scaled(values, 1 << 40) == 3 << 40
    assert direct(_scaled, values, 0) is call, "compiled once"
