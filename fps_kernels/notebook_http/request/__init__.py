"""What a cell is told of a request."""
