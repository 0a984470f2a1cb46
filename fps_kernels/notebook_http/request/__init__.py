"""What a cell is told of a request: from a body to code that sets REQUEST."""
