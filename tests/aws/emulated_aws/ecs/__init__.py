"""ECS services under the CODE_DEPLOY controller, whose tasks are local processes."""
