"""Server-side execution: cells that run here, and whose outputs go into the shared document."""
