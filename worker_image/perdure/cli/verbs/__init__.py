"""One module a verb: its options, what it asks, what it prints."""
