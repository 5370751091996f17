"""What is particular to each venue. ``VENUE_IDS`` is what a tick's ``venue_id`` field holds; 0 means none."""

VENUE_IDS = {"polygon": 1}
