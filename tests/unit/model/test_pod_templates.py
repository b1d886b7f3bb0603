"""Pod templates: what is relied upon has its shape, whatever else is in them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from perdure_operator.model.pod_templates import NamedObject, PodTemplate

TEMPLATE: TypeAdapter[Any] = TypeAdapter(PodTemplate)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"metadata": None, "spec": None}, id="parts-of-nothing"),
        pytest.param({"spec": {"containers": [{"name": "worker", "args": None}]}}, id="a-null"),
        pytest.param({"spec": {"restartPolicy": "Never"}}, id="the-policy-that-there-is"),
        pytest.param({"spec": {"ofANewerServer": [{"no": "name"}]}}, id="fields-of-the-future"),
    ],
)
def test_a_template_is_carried_as_it_is(template: dict[str, Any]) -> None:
    assert TEMPLATE.validate_python(template) == template


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param({"containers": []}, "below spec (there is containers)", id="no-spec-around"),
        pytest.param({"spec": "hello"}, "spec must be an object", id="text"),
        pytest.param({"metadata": []}, "metadata must be an object", id="metadata-is-a-list"),
        pytest.param({"metadata": {"labels": "a"}}, "labels must be an object", id="labels"),
        pytest.param({"spec": {"containers": {}}}, "spec.containers must be a list", id="a-map"),
        pytest.param({"spec": {"volumes": None}}, "spec.volumes must be a list", id="no-list"),
        pytest.param(
            {"spec": {"containers": [{"image": "x"}]}},
            "spec.containers[0] has no name",
            id="no-name",
        ),
        pytest.param(
            {"spec": {"initContainers": [None]}}, "spec.initContainers[0] has no name", id="null"
        ),
        pytest.param({"spec": {"restartPolicy": "Always"}}, "leave out", id="policy"),
        pytest.param({"spec": {"activeDeadlineSeconds": 5}}, "leave out", id="deadline"),
    ],
)
def test_a_template_that_could_not_be_laid_over_a_pod_is_refused(
    template: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        TEMPLATE.validate_python(template)
    assert words in str(caught.value)


def test_a_volume_without_a_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="it has no name"):
        TypeAdapter[Any](NamedObject).validate_python({"emptyDir": {}})
