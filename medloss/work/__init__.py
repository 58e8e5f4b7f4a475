"""Work in several processes or on a cluster: handed out, kept, resumed, interrupted."""
