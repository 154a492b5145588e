"""From options to stages."""
