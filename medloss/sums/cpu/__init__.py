"""Class sums on the CPU: kernels that numba compiles on first use and keeps on disk."""

from medloss.runtime.compiling import EXACT, FAST, Loops

_loops, _exact = Loops("class sums", fastmath=FAST), Loops("class sums", fastmath=EXACT)
kernel, part = _loops.kernel, _loops.part
exact_kernel, exact_part, means = _exact.kernel, _exact.part, _exact.means
