"""The JSON Schema of a policy, held against policies by a validator that shares no code with gate."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML, YAMLError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/policy.schema.json").read_text())
BAD = ROOT / "policies/tests/bad"
ENDING = ".policy.yaml"

# What is wrong in form: a key, a word, or how a value is written. The rest only gate can tell.
REJECTED = [
    "availability-out-of-range",
    "body-twice",
    "cloudwatch-without-a-bound",
    "connections-not-a-word",
    "connections-that-are-none",
    "counters-with-a-duration",
    "difference-without-a-sign",
    "duration-in-days",
    "duration-negative",
    "duration-not-a-duration",
    "duration-without-a-unit",
    "each-target-of-both",
    "each-target-of-nothing",
    "empty",
    "errors-versus-blue-with-a-share",
    "errors-without-at-most",
    "expectations-that-are-none",
    "grpc-that-is-none",
    "header-value-left-empty",
    "headers-not-a-map",
    "histogram-with-a-share",
    "json-not-a-map",
    "keys-missing",
    "lambda-expects-what-it-has-not",
    "latency-with-a-difference-of-nothing",
    "latency-without-quantile",
    "many-mistakes",
    "map-left-empty",
    "map-wanted",
    "metrics-of-both",
    "metrics-of-nothing",
    "metrics-without-the-other-counter",
    "metrics-without-the-quantile",
    "neither-true-nor-false",
    "nested-too-deep",
    "no-objectives",
    "not-a-map",
    "number-not-a-number",
    "objective-without-a-kind",
    "objectives-not-a-list",
    "only-comments",
    "other-version",
    "part-out-of-range",
    "probe-of-no-kind",
    "probe-of-two-kinds",
    "probe-without-http",
    "quantile-not-a-quantile",
    "quantile-out-of-range",
    "quantile-that-is-no-number",
    "rate-that-has-no-beginning",
    "rate-without-a-time",
    "rate-without-steps",
    "scenarios-that-are-none",
    "series-from-below-with-a-plus",
    "series-from-both-sides",
    "series-with-a-share",
    "share-not-a-share",
    "share-of-events-with-a-difference",
    "share-out-of-range",
    "share-with-a-plus",
    "share-without-a-percent-sign",
    "sidecar-errors-with-a-duration",
    "sidecar-port-not-a-port",
    "sidecar-quantile-with-a-share",
    "sidecar-without-at-most",
    "sign-by-two-means",
    "single-value-wanted",
    "stopped-tasks-not-a-number",
    "stopped-tasks-without-a-bound",
    "targets-that-are-none",
    "targets-without-green",
    "two-objectives-in-one-item",
    "unknown-key",
    "unknown-key-like-no-other",
    "unknown-key-of-a-secret",
    "unknown-key-of-an-objective",
    "unknown-objective",
    "unknown-stage",
    "unknown-stage-like-no-other",
    "unknown-word",
    "value-left-empty",
    "values-that-nothing-takes",
    "weight-of-a-condition",
]

# What no reader of YAML takes.
UNREADABLE = [
    "indented-by-chance",
    "key-twice",
    "not-yaml",
    "tab-instead-of-spaces",
    "two-documents",
    "unknown-alias",
]


def problems(text: str) -> list[str]:
    document = YAML(typ="safe", pure=True).load(text)
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)]


def policies_in_docs() -> list[tuple[str, str]]:
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        blocks = path.read_text().split("```yaml\n")[1:]
        texts = [block.split("```")[0] for block in blocks]
        policies = [text for text in texts if text.startswith("gate: v1")]
        found += [(f"{path.name}-{number}", text) for number, text in enumerate(policies)]
    return found


def good() -> list[tuple[str, str]]:
    paths = [*(ROOT / "deploy/policies").iterdir(), *(ROOT / "policies/tests/good").iterdir()]
    return [(path.name, path.read_text()) for path in sorted(paths)] + policies_in_docs()


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_there_are_policies_to_check():
    assert len(policies_in_docs()) >= 3 and len(good()) > 12


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in good()])
def test_a_good_policy_is_valid(text: str):
    assert problems(text) == []


def test_what_is_wrong_in_form_is_rejected_and_what_only_gate_can_tell_is_not():
    rejected, unreadable = [], []
    for path in BAD.glob("*" + ENDING):
        rule = path.name.removesuffix(ENDING)
        try:
            if problems(path.read_text()):
                rejected.append(rule)
        except YAMLError:
            unreadable.append(rule)
    assert (sorted(rejected), sorted(unreadable)) == (REJECTED, UNREADABLE)
