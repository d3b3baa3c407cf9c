"""Samples: how they are stored, decoded, prepared for training, imported and, for DigitWorld, generated."""
