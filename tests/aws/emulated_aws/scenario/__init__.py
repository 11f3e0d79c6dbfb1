"""A user's pipeline, as boto3 calls: sets up a blue/green service, deploys to it, waits for the outcome."""
