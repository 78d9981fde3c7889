"""``fastrelay probe``: checks a running relay with a client that shares no code with it."""
