"""The main job, told step by step: what `make demo` runs. It drives Strongroom as a new user would.

By its command line.
"""
