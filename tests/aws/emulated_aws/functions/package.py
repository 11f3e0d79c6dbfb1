"""What a function is made of, code and configuration, and what AWS refuses of both."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from ..errors import AwsError, not_emulated

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

_PLAIN = ("Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "Architectures")
# What a request may say besides: handled elsewhere, or in the value AWS has by default.
_ELSEWHERE = {
    "FunctionName", "Code", "Environment", "LoggingConfig", "Publish", "RevisionId", "PackageType", "Tags",
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {
    "Layers": [],
    "TracingConfig": {"Mode": "PassThrough"},
    "EphemeralStorage": {"Size": 512},
    "SnapStart": {"ApplyOn": "None"},
}


def configuration(name: str, params: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration part of a create or update request, refused where AWS would; `before` is left as it is."""
    config = dict(before or {"Timeout": 3, "MemorySize": 128, "Architectures": ["x86_64"], "Description": ""})
    for key, value in params.items():
        if key not in _ELSEWHERE and key not in _PLAIN and value != _DEFAULTS.get(key):
            raise not_emulated(f"{key} of a function")
    config |= {key: params[key] for key in _PLAIN if key in params}
    if config.get("Runtime") not in RUNTIMES:
        raise not_emulated(f"runtime {config.get('Runtime')}: only {', '.join(RUNTIMES)}")
    if not 1 <= config["Timeout"] <= 900:
        raise _invalid("Timeout must be between 1 and 900 seconds")
    if not 128 <= config["MemorySize"] <= 10240:
        raise _invalid("MemorySize must be between 128 and 10240 MB")
    if not config.get("Handler"):
        raise _invalid("Handler is required for Zip packages")
    if "Environment" in params:
        config["Environment"] = {"Variables": _variables(params["Environment"].get("Variables", {}))}
    config["LoggingConfig"] = _logging(name, config.get("LoggingConfig", {}), params.get("LoggingConfig", {}))
    return config


def _variables(variables: dict[str, str]) -> dict[str, str]:
    reserved = sorted(set(variables) & RESERVED)
    if reserved:
        raise _invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used "
            f"in this request: {', '.join(reserved)}"
        )
    if sum(len(k) + len(v) for k, v in variables.items()) > _MAX_ENVIRONMENT:
        raise _invalid("environment variables exceed the 4KB limit")
    return variables


def _logging(name: str, before: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"} | before | given
    if logging["LogFormat"] == "Text":
        if "ApplicationLogLevel" in given or "SystemLogLevel" in given:
            raise _invalid("log levels can be set with the log format JSON only")
        return {key: logging[key] for key in ("LogFormat", "LogGroup")}
    if given.get("ApplicationLogLevel", "INFO") != "INFO":
        raise not_emulated("filtering what a function logs by ApplicationLogLevel")
    return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"} | logging


def unpack(code: dict[str, Any], into: Path) -> dict[str, Any]:
    """Unpacks the zip with its modes; what the configuration says of it."""
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
    return {"CodeSize": len(data), "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode()}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)
