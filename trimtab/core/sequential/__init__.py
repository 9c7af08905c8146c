"""
Tests that stay valid however often one looks, and whenever one stops.

Each keeps an e-process: a running product whose expectation never rises above 1 while the null holds, so that the
chance of it ever reaching 1/alpha is at most alpha (Ville). Everything is kept as natural logarithms.
"""
