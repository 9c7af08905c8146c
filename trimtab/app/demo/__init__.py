"""`trimtab demo`: a year of real data through the whole platform, with mishaps on the way, and a report of it."""
