"""Keras callbacks around respect_tf. This release has none yet."""
