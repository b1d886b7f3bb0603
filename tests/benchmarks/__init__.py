"""Programs that measure, and print ratios to something measured in the same run. No tests."""
