"""Coverage-guided fuzzing of what reads bytes from strangers.

Each target is a module with ``one_input(data)``, which asserts what must hold for any bytes, and
``WORDS``, which a mutation may insert. A target needs no fuzzer: ``tests/fuzz/test_fuzz_corpus.py``
replays everything that was ever found interesting. ``python -m tests.fuzz TARGET --seconds N``
looks for more; see ``docs/fuzzing.md``.
"""

TARGETS = ("codec", "head", "envelope", "proxy_header", "tls")
