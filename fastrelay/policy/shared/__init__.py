"""State that the workers of one relay share, as computations over a buffer.

Each cell has 8 bytes, or 4 in the tables of addresses, and one writer, except in the token buckets.
No lock is taken: a process that is killed while it holds one would stop all others. The key of an
address is looked up at two places, which depend on a secret, so that a client cannot choose an
address that collides with another one's. See ``docs/decisions/0014-shared-memory.md``.
"""
