"""Connects phones and binaries by server-id, and decides what each message does."""
