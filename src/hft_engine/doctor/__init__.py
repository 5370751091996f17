"""``hft doctor``: what stands between this machine and a working engine, each finding with its remedy."""
