"""The model: an encoder per modality, a shared embedding space and a text decoder."""
