"""Keeping the tokens of an estate fresh."""
