"""Files in, tables out: what ``medloss eval`` does, one idea a module, without torch.

``pairing`` finds the cases, ``images`` reads them, ``score`` scores them one at a time, ``tables``
sums them up and ``writers`` keeps them. Every step is a function of plain records.
"""
