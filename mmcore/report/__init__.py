"""What a person looks at after a run: one page and one table, both a function of the files in the workspace."""
