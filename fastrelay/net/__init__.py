"""How bytes get in: listening sockets, and what happens before a transport exists."""
