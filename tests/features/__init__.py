"""One test for each line of what the neighbours promise their readers, in a folder for each neighbour."""
