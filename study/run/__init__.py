"""Running a study on Ray: the only package of ``study`` that imports Ray."""

# Environment of workers: torch allocates memory in huge pages. The gradients of wide layers are
# freed after each step, and allocating them again in small pages takes up to a fifth of the step
# (tests/benchmarks/pages.py).
WORKERS = {"THP_MEM_ALLOC_ENABLE": "1"}
