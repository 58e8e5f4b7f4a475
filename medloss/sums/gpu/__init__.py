"""The triton backend: class sums in one read of the logits, on a GPU."""
