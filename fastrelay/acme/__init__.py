"""Obtains and renews certificates automatically: ACME (RFC 8555) with HTTP-01 challenges.

``cache`` stores certificates and account keys, ``issuer`` talks to the CA, ``responder`` answers
the CA's challenges, and ``renewal`` decides when to ask for a certificate. ``issuer`` and
``renewal`` need the extra ``acme`` and are only imported by a relay with ``--domain``.
"""
