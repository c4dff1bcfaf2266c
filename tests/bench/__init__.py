"""`make bench`: how Strongroom compares with what a person would use instead, measured in the same run."""
