"""The gateway's options: read from the command line, files and the environment, checked, and made values."""
