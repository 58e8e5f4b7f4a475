"""Code that belongs to this bundle alone; its configuration files call it."""
