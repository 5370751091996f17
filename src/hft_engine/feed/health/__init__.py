"""How good the data are: facts of each tick (``observe``), states that follow (``judge``), what is told of them.

``monitor.HealthMonitor`` holds the memory and drives both; it knows no clock, no socket and no ring. docs/health.md
has the states, the formulas and their sources.
"""
