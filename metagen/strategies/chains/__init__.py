"""Chains: one stage after another, with tools in between."""
