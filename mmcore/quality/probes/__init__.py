"""What is measured of a sample, kind by kind: pictures and clips, recordings, texts. Nothing here judges."""
