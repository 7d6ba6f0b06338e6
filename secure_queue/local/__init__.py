"""Whole topologies on this machine, as processes on loopback: for development, for the demo and for the tests."""
