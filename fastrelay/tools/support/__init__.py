"""Code that probe and top share: command lines, output, and a client that limits its peer."""
