"""What is known about the quality of the data: the media gate before training, the drift watch after release."""
