"""What the pages on SAQ promises."""
