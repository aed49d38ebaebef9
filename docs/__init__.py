"""The documentation site: pages for users, and what of them is generated from the code."""
