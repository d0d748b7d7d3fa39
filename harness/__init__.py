"""Folders of pictures in; a trained, measured, exported image classifier out."""

__version__ = "0.1.0"
