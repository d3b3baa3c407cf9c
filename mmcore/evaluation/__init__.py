"""Scoring fine-tuned models on the test split, and the promotion gate."""
