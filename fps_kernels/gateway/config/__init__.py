"""What the gateway is told, and by whom: command line, files, environment; checked and made values."""
