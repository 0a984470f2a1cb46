"""Code that the server runs inside users' IPython kernels: any Python from 3.8 on, nothing but IPython imported."""
