"""Reads flags, environment and files, checks them, and makes frozen settings from them."""
