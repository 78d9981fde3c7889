"""What the tests share: a relay on real sockets, and a raw peer that shares no code with it."""
