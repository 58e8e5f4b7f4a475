"""Work on many items in several processes or on a cluster: handed out, kept, gone on with, stopped.

A :class:`~medloss.work.jobs.Job` says what is done to an item; a :class:`~medloss.work.engine.Crew`
does it and gives each item with its result, or with how it failed. Whoever has the items decides
what is kept, and where.
"""
