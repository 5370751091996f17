"""Benchmarks: each prints a table (Markdown) and one JSON object, last. Run one: python -m benchmarks.micro.hop"""

from hft_engine.runtime import kernelcache

kernelcache.use()  # before numba is imported: compiled benchmark kernels are kept beside the engine's
