"""Tuning a checkpoint on new pictures without losing what it can."""
