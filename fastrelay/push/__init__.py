"""Waking phones through Firebase Cloud Messaging (protocol, push wake): the extra ``push``."""
