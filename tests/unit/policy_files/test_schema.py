from __future__ import annotations

import jsonschema

from autoscaler.documents import parse_documents
from autoscaler.policy_files import policy_schema
from tests.unit.policy_files.documents import ALL, FULL_MPA, changed


def test_valid_documents_fit_the_schema_and_unknown_fields_do_not() -> None:
    schema = policy_schema()
    validator = jsonschema.Draft202012Validator(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    for document in parse_documents(ALL, "f"):
        assert not list(validator.iter_errors(document.value))
    wrong = changed(parse_documents(FULL_MPA, "f")[0].value, ("spec", "polcy"), {})
    assert list(validator.iter_errors(wrong))
