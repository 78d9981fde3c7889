"""What probe and top have in common: command lines, output, and a client that bounds its peer."""
