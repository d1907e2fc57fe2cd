"""Where certificates' status is asked."""
