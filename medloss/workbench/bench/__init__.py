"""Benchmarks: time and memory of ours beside others', in one process, as ratios with spread.

``measure``, ``results`` and the reports (``terminal``, ``markdown``, ``plot``) know no losses; a
suite, such as ``suite``, says what is compared.
"""
