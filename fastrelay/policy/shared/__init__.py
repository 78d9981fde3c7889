"""State that the workers of one relay share, in a buffer of shared memory.

Each cell has 8 bytes, or 4 in the tables of addresses. It has one writer, except in the token
buckets. There are no locks, because a process that is killed while it holds a lock would stop all
others. The key of an address is looked up at two places. They depend on a secret, so a client
cannot choose an address that uses the same places as another one. See
``docs/decisions/0014-shared-memory.md``.
"""
