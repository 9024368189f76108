"""CTC and RNN-T beside all alignments, counted one by one; where there is none; and mistakes. (The
generated tests of ops and of kernels hold values, gradients of two orders and kernels.)"""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn

from .oracles import alignment as brute

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3, 3))
LABELS = np.array([[1, 2], [2, 2], [1, 0]])
LENGTHS, SIZES = np.array([4, 3, 2]), np.array([2, 2, 0])
NODES = rng.normal(size=(3, 4, 3, 3))


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_the_sum_over_all_alignments(blank, backend):
    labels = np.where(blank == LABELS, 1, LABELS)
    log_p = X - np.log(np.exp(X).sum(-1, keepdims=True))
    wanted = brute._ctc(log_p, labels, LENGTHS, SIZES, blank)[0]
    found = losses.ctc(X, labels, LENGTHS, SIZES, blank, reduction="none")
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)
    if np.isfinite(wanted).all():
        shared = wanted / np.maximum(SIZES, 1)
        assert losses.ctc(X, labels, LENGTHS, SIZES, blank).item() == pytest.approx(shared.mean())


def test_a_transducer_is_the_sum_over_all_alignments(backend):
    for steps, size in ((4, 2), (1, 2), (3, 0)):
        x, lengths = NODES[:, :steps, : size + 1], np.minimum(LENGTHS, steps)
        labels, sizes = np.maximum(LABELS, 1)[:, :size], np.minimum(SIZES, size)
        wanted = brute._transducer(x, labels, lengths, sizes, 0)[0]
        found = losses.transducer(x, labels, lengths, sizes, reduction="none")
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("kernels", ["auto", "reference"])
def test_where_there_is_no_alignment_the_loss_is_infinite_and_its_gradient_0(kernels, backend):
    with tg.use_kernels(kernels):
        x = tg.tensor(X[:2], requires_grad=True)
        labels, sizes = np.array([[1, 1], [1, 2], [2, 0]]), [2, 2, 1]
        each = losses.ctc(x, labels, [2, 2, 2], sizes, reduction="none")
        assert np.isinf(each.numpy()).tolist() == [True, False, False]
        loss = losses.ctc(x, labels, [2, 2, 2], sizes, zero_infinity=True)
        loss.backward()
        assert np.isfinite(loss.item())
        assert not x.grad.numpy()[:, 0].any()
        assert x.grad.numpy()[:, 1].all()


def test_a_probability_of_0_is_no_alignment(backend):
    x = X[:, :1].copy()
    x[:, :, 1] = -np.inf
    assert np.isinf(losses.ctc(x, [[1]], [4], [1]).item())
    assert np.isfinite(losses.ctc(x, [[2]], [4], [1]).item())


def test_labels_and_lengths_on_a_gpu_that_lead_out_of_the_arrays_give_nan(gpu):
    x, nodes = [tg.tensor(a, backend=gpu.name, requires_grad=True) for a in (X, NODES)]
    for wrong in ((LABELS + 1, LENGTHS, SIZES), (LABELS, LENGTHS + 1, SIZES)):
        for loss, p in ((losses.ctc, x), (losses.transducer, nodes)):
            args = [tg.asarray(a, backend=gpu.name) for a in wrong]
            each = loss(p, *args, reduction="none")
            each.sum().backward()
            assert np.isnan(each.numpy()).any()
            assert not np.isnan(each.numpy()).all()


MISTAKES = {
    "probabilities": (
        lambda: losses.ctc(tg.softmax(tg.tensor(X, requires_grad=True)), LABELS, LENGTHS, SIZES),
        "leave out the final softmax",
    ),
    "batch first": (lambda: losses.ctc(X[:, :2], LABELS, LENGTHS, SIZES), r"\(t, n, classes\)"),
    "too long": (lambda: losses.ctc(X, LABELS, LENGTHS + 1, SIZES), "input_lengths are 1 to 4"),
    "too many": (lambda: losses.ctc(X, LABELS, LENGTHS, SIZES + 1), "target_lengths are 0 to 2"),
    "a blank": (lambda: losses.ctc(X, LABELS * 0, LENGTHS, SIZES), "without the blank, 0"),
    "no class": (lambda: losses.ctc(X, LABELS + 1, LENGTHS, SIZES), r"classes 0\.\.2"),
    "blank": (lambda: losses.ctc(X, LABELS, LENGTHS, SIZES, 3), "blank=3 is none of the classes"),
    "floats": (lambda: losses.ctc(X, LABELS * 1.0, LENGTHS, SIZES), "integers, got float64"),
    "a row": (lambda: losses.ctc(X, [1, 2], LENGTHS, SIZES), "sum to 4 for 2 labels"),
    "lattice": (lambda: losses.transducer(NODES[:, :, :2], LABELS, LENGTHS, SIZES), r"u \+ 1"),
}


@pytest.mark.host
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_error_that_says_what_fits(name):
    call, message = MISTAKES[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()


def test_a_model_learns_to_spell():
    tg.seed(0)
    model = nn.Linear(3, 3)
    loss, optimizer = nn.CTCLoss(), tg.optim.Adam(model.parameters(), lr=0.1)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(model(tg.tensor(X, dtype="float32")), LABELS, [4, 4, 4], SIZES)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("axes", [(0, None, None, None), (0, 0, None, None), (0, 0, 0, 0)])
@pytest.mark.parametrize("loss", ["ctc", "transducer"])
def test_second_derivatives_of_examples_within_vmap(loss, axes):
    """Labels and lengths may be those of each example, too."""
    draws = np.random.default_rng(0)
    shape = (2, 4, 2, 4) if loss == "ctc" else (2, 2, 4, 3, 4)
    given = [
        draws.normal(size=shape), np.array([[[1, 2], [2, 3]], [[3, 3], [2, 1]]]),
        np.array([[4, 4], [4, 3]]), np.array([[2, 1], [2, 2]]),
    ]  # fmt: skip
    args = [tg.asarray(a if at == 0 else a[0]) for a, at in zip(given, axes, strict=True)]
    f = getattr(tg.losses, loss)
    twice = tg.grad(lambda *a: (tg.grad(f)(*a) ** 2).sum())
    ours = tg.vmap(twice, axes)(*args).numpy()
    for i in range(2):
        one = twice(*[a[i] if at == 0 else a for a, at in zip(args, axes, strict=True)])
        np.testing.assert_allclose(ours[i], one.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.host
def test_sequences_may_have_weights():
    w, forms = (
        np.array([2.0, 0.5]),
        {"ctc": (X[:, 1:], LABELS[1:]), "transducer": (NODES[1:], None)},
    )
    for name, (x, labels) in forms.items():
        labels = np.maximum(LABELS[1:], 1) if labels is None else labels
        loss, args = getattr(losses, name), (x, labels, [4, 3], [1, 1])
        each = loss(*args, reduction="none").numpy()
        weighted = loss(*args, reduction="none", sample_weight=w).numpy()
        np.testing.assert_allclose(weighted, each * w)
        assert loss(*args, sample_weight=w).item() == pytest.approx((each * w).sum() / w.sum())
        assert loss(*args, reduction="sum", sample_weight=w).item() == pytest.approx(each @ w)
        with pytest.raises(tg.ShapeError, match="sample_weight"):
            loss(*args, sample_weight=np.ones(3))
    steps, labels = forms["ctc"]
    assert nn.CTCLoss()(steps, labels, [4, 3], [1, 1], sample_weight=w).item() == pytest.approx(
        losses.ctc(steps, labels, [4, 3], [1, 1], sample_weight=w).item()
    )
