"""Micro-benchmarks of the parts, by pytest-benchmark; not collected by the test suite."""
