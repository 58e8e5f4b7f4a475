"""Weighted sums of any losses: terms, weights, schedules, and what each term was."""
