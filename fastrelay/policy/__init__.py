"""What decides, without sockets, loop or clock: registry, caps, budgets, rate limits."""
