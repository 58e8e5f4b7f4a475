"""Benchmarks: time and memory of ours beside others', in one process, as ratios with spread.

``contest`` runs one, whatever it is about; ``losses``, ``metrics`` and ``distances`` say who takes
part in what. ``results`` holds what was found, ``report`` and ``plot`` show it.
"""
