"""Certificates that come and renew by themselves: ACME (RFC 8555) with HTTP-01 challenges.

``cache`` keeps what was issued, ``issuer`` talks to the CA, ``responder`` answers its challenges,
``renewal`` decides when. Only ``issuer`` needs the extra ``fastrelay[acme]``, and is imported by
whoever asks for a certificate.
"""
