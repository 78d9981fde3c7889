"""Benchmarks of the relay and of others like it; ``python -m bench`` lists what there is."""
