"""The response to a request: from the outputs of a cell to what is sent."""
