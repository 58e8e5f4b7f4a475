"""Files in, tables out: what ``medloss eval`` does, one idea a module, without torch.

Data goes one way: files, images, a case, values, a record, outputs. ``inputs`` finds the cases,
``reading`` reads them, ``score`` scores them one at a time into ``records``, ``outputs`` makes a
table of these and everything that is written and shown, and ``compare`` sets tables side by side.
"""
