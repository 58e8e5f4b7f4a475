"""Class sums on the CPU: kernels that numba compiles on first use and keeps on disk."""
