"""Bounded HTTPS calls to other servers, each in a thread beside the event loop's."""
