"""Bytes below, values above: everything between a Python value and the sealed bytes that are stored."""
