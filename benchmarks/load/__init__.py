"""What scaling.py is made of: kernels that cost little, a server, clients that cost little, and a chart."""
