"""From flags, environment and files to settings: frozen, plain data, checked."""
