"""
A stand-in for Seldon's operator, for tests against a real API server.

It does what operator 1.17.1 was seen to do, its pitfalls included, and is a program of its own: `python -m seldon`.
"""
