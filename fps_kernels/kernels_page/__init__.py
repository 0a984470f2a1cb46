"""The page of kernels, `/kernels`: what all hosts share of it."""
