"""What label maps are like, and which loss that speaks for: ``medloss suggest``, without torch.

``shapes`` measures one class of one case, ``cases`` reads files, ``facts`` sums cases up;
``advice`` is the table of what follows from which numbers, with ``reasons`` in words, and makes
configs of it.
"""
