"""Switching a slot's power: one file per back end, and a guardian so that nothing is ever left off."""
