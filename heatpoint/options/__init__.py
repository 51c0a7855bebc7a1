"""What options are made of: kinds of values, nested classes, keywords of functions."""
