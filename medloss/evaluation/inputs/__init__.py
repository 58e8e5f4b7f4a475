"""Which files belong together, and what of each is compared."""
