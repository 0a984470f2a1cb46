"""Shared documents of fps-yjs 0.6.4, with all that is patched there."""
