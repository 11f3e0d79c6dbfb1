"""boto3 clients of one endpoint, made when first used: ec2's model alone takes a tenth of a second to load."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.config import Config

REGION = "us-east-1"


class Clients:
    """`clients.ecs`, `clients.codedeploy` and so on."""

    def __init__(
        self, endpoint: str, access_key: str = "pipeline", secret_key: str = "emulated", region: str = REGION,
        session: botocore.session.Session | None = None,
    ) -> None:  # fmt: skip
        self.region = region
        self._session = session or botocore.session.Session()
        self._options = {
            "endpoint_url": endpoint,
            "region_name": region,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "config": Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60),
        }

    def __getattr__(self, service: str) -> Any:
        client = self._session.create_client("lambda" if service == "functions" else service, **self._options)
        setattr(self, service, client)
        return client
