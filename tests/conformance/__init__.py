"""What RFC 6455 demands of a server, case by case, over real sockets, plain and TLS.

``case`` says what a case is, ``cases/`` are the tables, one file a subject. ``echo`` is an
application of a few lines behind the relay's own connection class, listeners and TLS; ``client``
plays a case against it and ``test_cases`` plays them all.
"""
