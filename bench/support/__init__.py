"""What the benchmarks share: a relay to measure, a meter, and frames."""
