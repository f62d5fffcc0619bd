"""The playground's arithmetic and its sentences, in the browser: beside the Python that computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from model_store import gate_figures
from tests.page.gateways import FakeGateway


def module(page: Page, gateway: FakeGateway, name: str, call: str, argument: object) -> Any:  # noqa: ANN401  whatever it returns
    """What a function of one of the playground's modules returns, in the browser."""
    page.goto(gateway.http)
    script = f"(argument) => import('/page/playground/{name}').then((module) => {call})"
    return page.evaluate(script, argument)


def random_gates() -> list[np.ndarray[Any, Any]]:
    """Gates of one, two, three and five branches, undecided, decided, and exactly 0 and 1."""
    chance = np.random.default_rng(7)
    scales = [chance.beta(shape, shape, (1, 64)) for shape in (0.05, 0.5, 1, 20)]
    branches = [chance.dirichlet([shape] * count, 32).T for count in (2, 3, 5) for shape in (0.05, 1, 50)]
    return [*scales, *branches, np.array([[0.0, 1.0, 0.05, 0.95]]), np.array([[1.0, 0.0], [0.0, 1.0]])]


def test_gates_are_described_as_the_command_line_does(page: Page, gateway: FakeGateway) -> None:
    """Mean, bounds, entropy, saturation and branch means are those of `model_store.gate_figures`."""
    gates = random_gates()
    found = module(page, gateway, "gates.js", "argument.map(module.figures)", [one.tolist() for one in gates])
    for one, told in zip(gates, found, strict=True):
        expected = gate_figures.figures(one)
        for name in ("mean", "minimum", "maximum", "entropy", "saturation"):
            assert told[name] == pytest.approx(getattr(expected, name), abs=1e-12), name
        assert told["branchMeans"] == pytest.approx(list(expected.branch_means), abs=1e-12)
    bounds = module(page, gateway, "gates.js", "[module.SHUT, module.OPEN]", None)
    assert bounds == [gate_figures.SHUT, gate_figures.OPEN]


def test_columns_are_cut_branch_by_branch(page: Page, gateway: FakeGateway) -> None:
    """As numpy reshapes a block's columns to [branches, channels]; another number of columns is refused."""
    blocks = [np.arange(6.0).reshape(1, 6), np.arange(8.0).reshape(2, 4), np.arange(6.0).reshape(3, 2)]
    layout = [
        {"block": f"b{number}", "branches": len(block), "channels": block.shape[1]}
        for number, block in enumerate(blocks)
    ]
    row = np.concatenate([block.ravel() for block in blocks]).tolist()
    call = "module.split(argument.row, argument.layout)"
    found = module(page, gateway, "gates.js", call, {"row": row, "layout": layout})
    assert [one["block"] for one in found] == ["b0", "b1", "b2"]
    assert [one["gates"] for one in found] == [block.tolist() for block in blocks]
    call = f"{{ try {{ return {call}; }} catch (error) {{ return error.message; }} }}"
    refused = module(page, gateway, "gates.js", call, {"row": row[1:], "layout": layout})
    assert refused == "The answer has 19 gates, but the model's layout has 20."


@pytest.mark.parametrize("gates", [[[]], [[0.5, 1.5]], [[0.5, -0.1]], [[0.5], [0.7]]])
def test_what_is_no_gate_is_refused_as_there(
    page: Page, gateway: FakeGateway, gates: list[list[float]]
) -> None:
    """What `model_store.gate_figures` refuses, the page does not draw."""
    with pytest.raises(ValueError, match="must"):
        gate_figures.figures(np.array(gates))
    call = "{ try { return module.figures(argument); } catch (error) { return error.message; } }"
    assert isinstance(module(page, gateway, "gates.js", call, gates), str)


VOTES = (
    ("a7", "a says 7. The sample's own label is 7: it is right."),
    ("a7 b7", "Both say 7. The sample's own label is 7: both are right."),
    ("a1 b1 c1", "All 3 say 1. The sample's own label is 7: none is right."),
    ("a7 b7 c7 d1", "3 of 4 say 7; d says 1. The sample's own label is 7: 3 of 4 are right."),
    ("a7 b1", "No two agree: a says 7; b says 1. The sample's own label is 7: 1 of 2 is right."),
    (
        "a1 b7 c1 d7",
        "They are divided: a and c say 1; b and d say 7. The sample's own label is 7: 2 of 4 are right.",
    ),
    (
        "a2 b7 c2 d2 e7 f1",
        "3 of 6 say 2; b and e say 7; f says 1. The sample's own label is 7: 2 of 6 are right.",
    ),
)


def test_agreement_is_told_in_a_sentence(page: Page, gateway: FakeGateway) -> None:
    """Who says what, the many first, and whether the sample's own label is theirs."""
    votes = [[{"name": vote[0], "label": vote[1]} for vote in given.split()] for given, _ in VOTES]
    call = """argument.map((votes) => [...module.agreement(votes), " ", ...module.rightness(votes, "7")]
        .map((part) => part.said ?? part).join(""))"""
    assert module(page, gateway, "agreement.js", call, votes) == [told for _, told in VOTES]
