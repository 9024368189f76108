"""Programs that tests run as several processes."""
