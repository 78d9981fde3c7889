"""Hostile connections, and what honest peers get beside them."""
