"""Puts one relay together from its listeners, endpoints and pages, and starts it."""
