"""Surfaces of every class of two label maps in one sweep, and the distances between them."""
