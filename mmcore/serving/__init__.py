"""A released set of task models as a Bento: packaged, smoke-tested and served."""
