"""CloudWatch of our own: metrics that keep percentiles, and alarms whose states tests set."""
