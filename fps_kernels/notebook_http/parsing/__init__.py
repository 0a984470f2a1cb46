"""What the notebook says: cells, annotations, Swagger documents, endpoints."""
