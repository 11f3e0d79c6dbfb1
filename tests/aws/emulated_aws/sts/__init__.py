"""STS of our own: roles assumed under names a test can tell apart."""
