"""Native ECS deployments: services under the ECS controller, their revisions, service deployments and hooks."""
