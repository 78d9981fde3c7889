"""Wakes phones through Firebase Cloud Messaging (protocol, push wake).

All modules but ``waker`` need the extra ``push``.
"""
