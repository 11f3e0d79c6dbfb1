"""An emulated AWS on loopback: strict front, real CodeDeploy life cycle, real tasks, health checks and hooks."""
