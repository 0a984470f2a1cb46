"""What is answered with what a cell said."""
