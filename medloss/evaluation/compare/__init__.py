"""Several tables of results on the same cases, set against one another.

``runs`` says whether they may be compared at all, ``paired`` tests differences case by case,
``ranking`` orders the runs, and ``outputs`` and ``page`` show it.
"""
