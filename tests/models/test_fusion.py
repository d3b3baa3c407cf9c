"""Every fusion holds to the same promises; each formula agrees with numbers computed by hand."""

import pytest
import torch

from mmcore.models.fusion import FUSIONS, Pooled
from mmcore.models.heads import HEADS
from mmcore.models.layers import initialise

NAMES = ["text", "image", "audio"]
OPTIONS = {"low_rank": {"rank": 3}} | {
    name: {"layers": 2} for name in ("cross_attention", "co_attention", "transformer")
}
WIDTH = 8


def made(name, names=NAMES, width=WIDTH):
    torch.manual_seed(0)
    fusion = FUSIONS.build(
        {"name": name, **OPTIONS.get(name, {})}, width=width, heads=2, dropout=0.0, modalities=list(names)
    )
    initialise(fusion)
    return fusion.eval()


def tokens(names=NAMES, batch=4, seed=1):
    random = torch.Generator().manual_seed(seed)
    lengths = {"text": 5, "image": 4, "audio": 3}
    return {
        name: (torch.randn(batch, lengths[name], WIDTH, generator=random), torch.ones(batch, lengths[name]).bool())
        for name in names
    }


every_fusion = pytest.mark.parametrize("name", FUSIONS.names())


@every_fusion
def test_other_rows_of_the_batch_change_nothing(name):
    fusion, given = made(name), tokens()
    alone = fusion({key: (values[:1], mask[:1]) for key, (values, mask) in given.items()})
    torch.testing.assert_close(fusion(given).pooled[:1], alone.pooled)
    torch.testing.assert_close(fusion(given).tokens[:1], alone.tokens)


@every_fusion
@pytest.mark.parametrize("modality", NAMES)
def test_every_modality_changes_the_outcome(name, modality):
    fusion, given = made(name), tokens()
    values, mask = given[modality]
    other = fusion(given | {modality: (values.flip(0), mask)})
    assert not torch.allclose(fusion(given).pooled, other.pooled, atol=1e-4)


@every_fusion
def test_padding_changes_nothing(name):
    fusion, given = made(name), tokens()
    values, mask = given["text"]
    padded = torch.cat([values, torch.full((4, 3, WIDTH), 7.0)], 1), torch.cat([mask, torch.zeros(4, 3).bool()], 1)
    torch.testing.assert_close(fusion(given | {"text": padded}).pooled, fusion(given).pooled)


@every_fusion
@pytest.mark.parametrize("modality", NAMES[1:])
def test_a_row_that_lacks_a_modality_is_as_if_it_had_not_been_named(name, modality):
    fusion, given = made(name), tokens()
    values, mask = given[modality]
    masked = fusion(given | {modality: (values, torch.zeros_like(mask))})
    without = fusion({key: pair for key, pair in given.items() if key != modality})
    torch.testing.assert_close(masked.pooled, without.pooled)
    assert masked.weights[:, NAMES.index(modality)].abs().max() == 0


@every_fusion
def test_weights_sum_to_one_over_the_modalities_present(name):
    fusion, given = made(name), tokens()
    values, mask = given["audio"]
    given["audio"] = values, mask & torch.tensor([True, False, True, False])[:, None]
    fused = fusion(given)
    torch.testing.assert_close(fused.weights.sum(1), torch.ones(4))
    assert fused.names == tuple(NAMES)


@every_fusion
def test_a_gradient_reaches_every_modality_and_every_weight_that_is_used(name):
    fusion, given = made(name).train(), tokens()
    for values, _ in given.values():
        values.requires_grad_()
    fused = fusion(given)
    (fused.pooled.sin().sum() + fused.tokens.cos().sum()).backward()
    for key, (values, _) in given.items():
        assert values.grad.abs().max() > 0, key


@every_fusion
def test_half_precision_gives_nearly_the_same(name):
    fusion, given = made(name), tokens()
    exact = fusion(given).pooled
    half = fusion.bfloat16()({key: (values.bfloat16(), mask) for key, (values, mask) in given.items()}).pooled
    assert (half.float() - exact).abs().max() < 0.06 * exact.abs().max()


@every_fusion
def test_a_row_without_anything_gives_numbers(name):
    given = {key: (values, torch.zeros_like(mask)) for key, (values, mask) in tokens().items()}
    assert made(name)(given).pooled.isfinite().all()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        *((name, changed) for name in ("co_attention", "transformer") for changed in NAMES),
        *(("cross_attention", changed) for changed in NAMES[1:]),  # the first modality only asks
    ],
)
def test_a_token_of_one_modality_changes_the_tokens_of_another(name, changed):
    fusion, given = made(name), tokens()
    values, mask = given[changed]
    other = values.clone()
    other[:, 0] = -other[:, 0]
    lengths = [given[key][0].shape[1] for key in NAMES]
    before, after = (fusion(told).tokens.split(lengths, 1) for told in (given, given | {changed: (other, mask)}))
    for number, key in enumerate(NAMES):
        if key != changed and (name != "cross_attention" or key == NAMES[0]):
            # Every token of every row, since each of them looks at the one that is another.
            assert (before[number] - after[number]).abs().amax(-1).min() > 1e-4, key


@pytest.mark.parametrize("name", ["cross_attention", "co_attention", "transformer"])
def test_a_fusion_of_tokens_without_layers_is_refused(name):
    with pytest.raises(ValueError, match="layers is 0; a fusion of tokens needs 1 or more"):
        FUSIONS.build({"name": name, "layers": 0}, width=WIDTH, heads=2, dropout=0.0, modalities=NAMES)


def test_an_unknown_modality_is_named():
    with pytest.raises(LookupError, match="'video'"):
        made("concat")({"video": tokens()["image"]})


# By hand --------------------------------------------------------------------------------------------------------------


class AsTheyAre(torch.nn.Module):
    """One token a modality is its vector."""

    def forward(self, given):
        present = torch.stack([mask.any(1) for _, mask in given.values()], 1)
        return torch.stack([values[:, 0] for values, _ in given.values()], 1) * present[..., None], present


def two(left, right):
    """A row of two modalities with one token of two channels each."""
    there = torch.ones(1, 1).bool()
    return {"text": (torch.tensor([[left]]), there), "image": (torch.tensor([[right]]), there)}


def plain(name):
    fusion = made(name, ["text", "image"], 2)
    fusion.pool = AsTheyAre()
    return fusion


def identity(layer):
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)


def test_gated_fusion_is_the_sum_of_gates_times_tanh():
    fusion = plain("gated")
    for layer in (*fusion.values.values(), *fusion.gates.values()):
        identity(layer)
    torch.nn.init.zeros_(fusion.all.weight)
    gates = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).softmax(0)
    expected = (gates * torch.tensor([[1.0, 0.0], [0.0, 2.0]]).tanh()).sum(0)
    torch.testing.assert_close(fusion(two([1.0, 0.0], [0.0, 2.0])).pooled[0], expected)


def test_attention_weighs_by_the_softmax_of_the_scores():
    fusion = plain("attention")
    identity(fusion.hidden)
    identity(fusion.value)
    torch.nn.init.ones_(fusion.score.weight)
    left, right = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    weights = torch.stack([left.tanh().sum(), right.tanh().sum()]).softmax(0)
    fused = fusion(two([1.0, 0.0], [0.0, 2.0]))
    torch.testing.assert_close(fused.weights[0], weights)
    torch.testing.assert_close(fused.pooled[0], weights[0] * left + weights[1] * right)


def test_additive_attention_is_bahdanau_s():
    fusion = plain("additive")
    for layer in (fusion.query, fusion.key, fusion.value):
        identity(layer)
    torch.nn.init.ones_(fusion.score.weight)
    fusion.norm = torch.nn.Identity()
    question, regions = torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    energies = torch.stack([(question + region).tanh().sum() for region in regions])
    expected = question + (energies.softmax(0)[:, None] * regions).sum(0)
    given = two([0.5, -0.5], [0.0, 0.0]) | {"image": (regions[None], torch.ones(1, 3).bool())}
    torch.testing.assert_close(fusion(given).pooled[0], expected)


def test_low_rank_fusion_is_the_mean_over_ranks_of_the_product_over_modalities():
    fusion = plain("low_rank")
    fusion.norm = torch.nn.Identity()
    left, right = torch.tensor([1.0, -1.0]), torch.tensor([0.5, 2.0])
    factors = [
        1 + torch.nn.functional.linear(vector, fusion.factors[name].weight, fusion.factors[name].bias).view(3, 2)
        for name, vector in (("text", left), ("image", right))
    ]
    fused = fusion(two([1.0, -1.0], [0.5, 2.0]))
    torch.testing.assert_close(fused.pooled[0], (factors[0] * factors[1]).mean(0))


def test_pooling_takes_the_mean_where_all_tokens_score_alike():
    pool = Pooled(WIDTH, ["text"])
    torch.nn.init.zeros_(pool.queries["text"].weight)
    values = torch.randn(2, 3, WIDTH)
    vectors, present = pool({"text": (values, torch.tensor([[True, True, False], [True, False, False]]))})
    torch.testing.assert_close(vectors[0, 0], pool.norms["text"](values[0, :2].mean(0)))
    torch.testing.assert_close(vectors[1, 0], pool.norms["text"](values[1, 0]))
    assert present.all()


def contradictions(rows=256, seed=2):
    """Texts and pictures that each say yes or no, and whether they contradict each other: neither tells it alone."""
    random = torch.Generator().manual_seed(seed)
    says = torch.randint(0, 2, (rows, 2), generator=random)
    directions = torch.randn(2, 2, WIDTH, generator=random)
    given = {}
    for number, name in enumerate(("text", "image")):
        noise = 0.3 * torch.randn(rows, 3, WIDTH, generator=random)
        given[name] = directions[number][says[:, number]][:, None] + noise, torch.ones(rows, 3).bool()
    return given, says[:, 0] ^ says[:, 1]


def accuracy(spec, names):
    """Of a head with this fusion, on rows that it was not trained on."""
    torch.manual_seed(0)
    head = HEADS.build({**spec, "inputs": names, "classes": ["yes", "no"]}, width=WIDTH, heads=2, dropout=0.0)
    initialise(head)
    given, labels = contradictions()
    optimiser = torch.optim.Adam(head.parameters(), 1e-2)
    train, test = slice(0, 192), slice(192, 256)
    for _ in range(150):
        optimiser.zero_grad()
        answers = head({name: (given[name][0][train], given[name][1][train]) for name in names})
        torch.nn.functional.cross_entropy(answers, labels[train]).backward()
        optimiser.step()
    answers = head({name: (given[name][0][test], given[name][1][test]) for name in names})
    return float((answers.argmax(1) == labels[test]).float().mean())


@every_fusion
def test_two_modalities_tell_what_neither_tells_alone(name):
    head = {"name": "classes", "fusion": {"name": name, **OPTIONS.get(name, {})}}
    alone = max(accuracy(head, [one]) for one in ("text", "image"))
    assert alone < 0.7
    assert accuracy(head, ["text", "image"]) > alone + 0.2


@pytest.mark.parametrize("rule", ["mean", "product"])
def test_votes_that_are_cast_apart_cannot_see_a_contradiction(rule):
    assert accuracy({"name": "votes", "rule": rule}, ["text", "image"]) < 0.7
