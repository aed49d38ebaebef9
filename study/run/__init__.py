"""Running a study on Ray: everything that imports it."""

# torch asks for memory in large pages: the gradients of wide layers are given back after each step,
# and getting them anew page by page takes up to a fifth of it (tests/benchmarks/pages.py)
WORKERS = {"THP_MEM_ALLOC_ENABLE": "1"}
