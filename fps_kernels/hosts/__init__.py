"""What others run this package in, one folder for each."""
