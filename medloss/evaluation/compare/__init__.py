"""Several output folders of ``medloss eval`` on the same cases, set against one another.

``runs`` says whether they may be compared at all, ``paired`` tests differences case by case,
``ranking`` orders the runs, and ``terminal``, ``files`` and ``page`` show it.
"""
