"""What justified an optimisation, and what was tried and did not help.

Each is a module to run by itself (``python -m bench.experiments.NAME``); figures from the machine
of ``docs/performance.md`` stand in its docstring.
"""
