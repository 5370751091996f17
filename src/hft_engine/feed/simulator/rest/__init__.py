"""The REST sides of the simulated vendors. Needs the extra ``web``; nothing outside imports it unasked."""
