"""Functions as we keep them: code unpacked in a directory, configuration, and what AWS refuses of both."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import io
import os
import shutil
import uuid
import zipfile
from pathlib import Path
from typing import Any

from ..errors import AwsError, not_emulated
from ..settings import ACCOUNT

MAX_FUNCTIONS = 100
MAX_UNZIPPED = 250 * 1024 * 1024  # Lambda quota
_MAX_ENVIRONMENT = 4096  # Lambda quota, all variables together
RUNTIMES = ("provided.al2023", "provided.al2")

# "Defined runtime environment variables" (Lambda guide): reserved, cannot be set in the configuration.
RESERVED = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
# Ours: the access key the function signs with, so that a test can aim a fault at this function alone.
ACCESS_KEY_VARIABLE = "EMULATED_ACCESS_KEY_ID"


@dataclasses.dataclass
class Function:
    """One function, $LATEST only."""

    name: str
    region: str
    directory: Path
    config: dict[str, Any]
    revision: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}"

    @property
    def timeout(self) -> int:
        return self.config["Timeout"]

    def changed(self) -> None:
        """A new revision; sandboxes of the old one are not used again."""
        self.revision = str(uuid.uuid4())
        now = datetime.datetime.now(datetime.UTC)
        self.config["LastModified"] = now.strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def describe(self) -> dict[str, Any]:
        """FunctionConfiguration."""
        return self.config | {
            "FunctionName": self.name,
            "FunctionArn": self.arn,
            "RevisionId": self.revision,
            "Version": "$LATEST",
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
        }


def configuration(params: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration part of a create or update request, refused where AWS would."""
    config = dict(before or {"Timeout": 3, "MemorySize": 128, "Architectures": ["x86_64"], "Description": ""})
    for key in ("Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "Architectures", "Layers"):
        if key in params:
            config[key] = params[key]
    if config.get("Runtime") not in RUNTIMES:
        raise not_emulated(f"runtime {config.get('Runtime')}: only {', '.join(RUNTIMES)}")
    if config.get("Layers"):
        raise not_emulated("layers")
    if not 1 <= config["Timeout"] <= 900:
        raise _invalid("Timeout must be between 1 and 900 seconds")
    if not 128 <= config["MemorySize"] <= 10240:
        raise _invalid("MemorySize must be between 128 and 10240 MB")
    if not config.get("Handler"):
        raise _invalid("Handler is required for Zip packages")
    if "Environment" in params:
        variables = params["Environment"].get("Variables", {})
        reserved = sorted(set(variables) & RESERVED)
        if reserved:
            raise _invalid(
                "Lambda was unable to configure your environment variables because the environment variables you have "
                "provided contains reserved keys that are currently not supported for modification. Reserved keys used "
                f"in this request: {', '.join(reserved)}"
            )
        if sum(len(k) + len(v) for k, v in variables.items()) > _MAX_ENVIRONMENT:
            raise _invalid("environment variables exceed the 4KB limit")
        config["Environment"] = {"Variables": variables}
    return config


def unpack(code: dict[str, Any], into: Path, config: dict[str, Any]) -> None:
    """Unpacks the zip with its modes, and records size and hash."""
    data = code.get("ZipFile")
    if data is None:
        raise not_emulated("function code from elsewhere than ZipFile")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except zipfile.BadZipFile:
        raise _invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from None
    if not entries:
        raise _invalid("Uploaded file must be a non-empty zip")
    if sum(entry.file_size for entry in entries) > MAX_UNZIPPED:
        raise _invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for entry in entries:
        try:
            path = archive.extract(entry, into)  # extract() keeps names inside `into`
        except (zipfile.BadZipFile, OSError, RuntimeError) as error:
            raise _invalid(f"Could not unzip uploaded file: {error}") from None
        mode = entry.external_attr >> 16
        if mode and not entry.is_dir():
            os.chmod(path, mode & 0o777)
    config["CodeSize"] = len(data)
    config["CodeSha256"] = base64.b64encode(hashlib.sha256(data).digest()).decode()


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)
