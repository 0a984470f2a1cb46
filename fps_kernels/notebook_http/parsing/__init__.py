"""The endpoints of a notebook, from the annotations of its cells or from its Swagger document."""
