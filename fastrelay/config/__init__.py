"""Reads flags, environment and files, checks them, and makes frozen settings of them."""
