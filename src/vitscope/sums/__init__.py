"""What is kept of any number of pictures: exact sums and moments, and their sums over bootstrap samples."""
