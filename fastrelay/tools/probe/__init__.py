"""A black-box check of a running relay, by a client that shares no code with it."""
