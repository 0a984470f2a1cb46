"""What one step of a message's way costs: `python -m pytest benchmarks/micro -n0`, see docs/performance.md."""
