"""Training: one loop, its checkpoints, its optimiser and the device it runs on."""
