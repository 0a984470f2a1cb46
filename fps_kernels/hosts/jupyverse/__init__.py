"""What both generations of Jupyverse have in common: FastAPI, its Auth, and its configuration."""
