"""HTTPS calls to other servers, with limits, each in a thread of its own."""
