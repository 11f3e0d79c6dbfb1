"""Lambda functions as local processes talking to an emulated Runtime API."""
