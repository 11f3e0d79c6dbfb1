"""The CodeDeploy life cycle on ECS and Lambda: our reading of the AWS documentation."""
