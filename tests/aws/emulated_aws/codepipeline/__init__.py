"""CodePipeline of our own: manual approvals and Lambda invocations, in every execution mode."""
