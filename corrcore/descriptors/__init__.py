"""Descriptors made by hand."""
