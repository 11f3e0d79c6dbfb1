"""Tables as those need them who share one: writes on conditions, sparse indexes, pages; refusals of the front."""

import uuid

import pytest
from botocore.exceptions import ClientError

KEYS = [{"AttributeName": "question", "KeyType": "HASH"}, {"AttributeName": "entry", "KeyType": "RANGE"}]
OPEN = {
    "IndexName": "open",
    "KeySchema": [{"AttributeName": "open", "KeyType": "HASH"}, {"AttributeName": "accepted", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["owner"]},
}
TYPES = {"question": "S", "entry": "N", "open": "S", "accepted": "N"}


@pytest.fixture
def dynamodb(aws):
    return aws.loose("dynamodb")


@pytest.fixture
def table(dynamodb):
    """Its name."""
    name = f"t{uuid.uuid4().hex[:8]}"
    dynamodb.create_table(
        TableName=name, KeySchema=KEYS, BillingMode="PAY_PER_REQUEST", GlobalSecondaryIndexes=[OPEN],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": of} for key, of in TYPES.items()],
    )  # fmt: skip
    yield name
    dynamodb.delete_table(TableName=name)


def item(entry, **more):
    return {"question": {"S": "q"}, "entry": {"N": str(entry)}} | more


def put_new(dynamodb, table, one):
    dynamodb.put_item(
        TableName=table, Item=one, ConditionExpression="attribute_not_exists(#n0)",
        ExpressionAttributeNames={"#n0": "question"},
    )  # fmt: skip


def code(call, *args, **params):
    with pytest.raises(ClientError) as raised:
        call(*args, **params)
    return raised.value.response["Error"]["Code"]


def test_an_item_is_put_once(dynamodb, table):
    put_new(dynamodb, table, item(1, body={"S": "first"}))
    assert code(put_new, dynamodb, table, item(1, body={"S": "second"})) == "ConditionalCheckFailedException"
    put_new(dynamodb, table, item(2, body={"B": b"\x1f\x8b"}))
    found = dynamodb.get_item(TableName=table, Key=item(1), ConsistentRead=True)["Item"]
    assert found["body"] == {"S": "first"}


def test_a_change_needs_what_it_expects_and_an_index_holds_only_what_has_its_key(dynamodb, table):
    header = item(0, open={"S": "yes"}, accepted={"N": "1"}, owner={"S": "one"}, body={"S": "long"})
    put_new(dynamodb, table, header)

    def taken(by, of):
        dynamodb.update_item(
            TableName=table, Key=item(0), UpdateExpression="SET #n2 = :v1 ",
            ConditionExpression="attribute_exists(#n0) AND #n1 = :v0",
            ExpressionAttributeNames={"#n0": "open", "#n1": "owner", "#n2": "owner"},
            ExpressionAttributeValues={":v0": {"S": of}, ":v1": {"S": by}},
        )  # fmt: skip

    def open_ones():
        return dynamodb.query(
            TableName=table, IndexName="open", KeyConditionExpression="#n0 = :v0",
            ExpressionAttributeNames={"#n0": "open"}, ExpressionAttributeValues={":v0": {"S": "yes"}},
        )["Items"]  # fmt: skip

    taken("two", "one")
    assert code(taken, "three", "one") == "ConditionalCheckFailedException"
    assert [one["owner"] for one in open_ones()] == [{"S": "two"}]
    dynamodb.update_item(
        TableName=table, Key=item(0), UpdateExpression="REMOVE #n0 ", ExpressionAttributeNames={"#n0": "open"}
    )
    assert open_ones() == []
    assert code(taken, "three", "two") == "ConditionalCheckFailedException"


def test_a_question_is_read_in_order_page_by_page(dynamodb, table):
    for entry in (10, 9, 2, 1):
        put_new(dynamodb, table, item(entry))
    pages, start = [], {}
    while True:
        found = dynamodb.query(
            TableName=table, KeyConditionExpression="#n0 = :v0", ExpressionAttributeNames={"#n0": "question"},
            ExpressionAttributeValues={":v0": {"S": "q"}}, Limit=3, ConsistentRead=True, **start,
        )  # fmt: skip
        pages.append([int(one["entry"]["N"]) for one in found["Items"]])
        if "LastEvaluatedKey" not in found:
            break
        start = {"ExclusiveStartKey": found["LastEvaluatedKey"]}
    assert [entry for page in pages for entry in page] == [1, 2, 9, 10] and len(pages) > 1


def test_what_aws_would_refuse_is_refused(aws, dynamodb, table):
    assert code(dynamodb.get_item, TableName="nowhere", Key=item(1)) == "ResourceNotFoundException"
    assert code(dynamodb.get_item, TableName=table) == "ValidationException"
    wrong = aws.loose("dynamodb", secret="wrong")
    assert code(wrong.describe_table, TableName=table) in ("InvalidSignatureException", "SignatureDoesNotMatch")


def test_faults_strike_tables_too(aws, dynamodb, table):
    _, made = aws.control(
        "faults", "POST",
        {"service": "dynamodb", "operation": "PutItem", "access_key": "loose", "error": "ThrottlingException"},
    )  # fmt: skip
    assert code(put_new, dynamodb, table, item(1)) == "ThrottlingException"
    aws.control(f"faults/{made['id']}", "DELETE")
    put_new(dynamodb, table, item(1))
