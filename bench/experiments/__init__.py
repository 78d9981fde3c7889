"""What justified an optimisation, and what was tried and did not help.

Each module is one experiment: its docstring says what is compared, and what was found on the
machine of ``docs/performance.md``. Those with a ``main`` measure parts in this process. Those with
a ``change`` undo, or do, one thing to a whole relay; it takes turns with the relay as shipped under
the loads of ``LOADS``, and where ``IDLE`` is set, idle connections of both are weighed.
"""
