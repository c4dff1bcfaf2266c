"""Images that guests are made from: built from a recipe or imported, kept by digest, verified before use."""
