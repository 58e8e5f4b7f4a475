"""What plugins offer: hooks and records, the host that finds them, their cards."""
