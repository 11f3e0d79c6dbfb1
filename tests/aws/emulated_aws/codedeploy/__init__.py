"""The CodeDeploy life cycle for ECS blue/green deployments: our reading of the AWS documentation."""
