"""The Data page's parts: what is on this machine, and building an index."""
