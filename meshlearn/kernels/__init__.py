"""Lowest layer: small dense matrices as structures of arrays."""
