"""Traces for OpenTelemetry: starts and restarts of kernels, and what clients have them execute.

Nothing here is imported, and no message passes through it, unless the option `traces` is on.
"""
