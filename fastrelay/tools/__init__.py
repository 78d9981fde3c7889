"""Programs beside the relay: they look at a running one from outside."""
