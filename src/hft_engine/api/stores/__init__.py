"""Servers that a collector stores in: Redis for the latest, PostgreSQL or TimescaleDB for history (docs/api.md)."""
