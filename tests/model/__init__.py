"""Runs the models in docs/model with spin: each must hold, and each seeded defect must break its property."""
