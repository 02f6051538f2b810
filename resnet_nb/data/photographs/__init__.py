"""Photographs that stay in their files: ImageNet and its like, found, checked, named, and laid out for training."""
