"""Jupyverse 0.6.4, on Asphalt: the component, its plugin resource, and `fps-kernels lab`."""
