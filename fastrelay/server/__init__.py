"""One relay: its listeners, endpoints and pages, put together and started."""
