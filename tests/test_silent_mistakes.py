"""Mistakes that would silently train the wrong thing or report a wrong result."""

import copy

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype(np.float32)
Y = X[:, :1].copy()
LABELS = (X[:, 0] > 0).astype(np.int64)


def compiled(*layers, optimizer="sgd", loss="mse", **options):
    return nn.Sequential(*(layers or [nn.Dense(1, 4)])).compile(optimizer, loss, **options)


def test_a_model_may_have_an_attribute_called_layers():
    class Net(nn.Module):
        def __init__(self):
            self.layers = [nn.Dense(3, 4), nn.Dense(1, 3)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Net()
    assert net(X).shape == (60, 1)
    assert len(net.layers) == 2
    assert len(net.parameters()) == 4


def test_half_built_models_do_not_give_half_of_their_parameters():
    model = nn.Sequential(nn.Dense(3, 4), nn.Dense(1))
    with pytest.raises(tg.ShapeError, match=r"layers\[1\] have no parameters yet"):
        model.parameters()
    model(X)
    assert len(model.parameters()) == 4
    assert len(nn.Sequential(nn.Dense(3, 4), nn.Dense(1)).get_weights()) == 2  # what there is


def test_a_copied_model_trains_on_as_the_original():
    model = compiled(optimizer=tg.optim.Adam(lr=0.1))
    model.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    twin = copy.deepcopy(model)
    for m in (model, twin):
        m.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", ["binary_cross_entropy_with_logits", "binary_cross_entropy"])
def test_accuracy_knows_logits_from_probabilities(loss):
    name = "sigmoid" if loss == "binary_cross_entropy" else None
    model = compiled(nn.Dense(1, 4, activation=name), loss=loss, metrics=["accuracy"])
    model.set_weights([np.array([[0.2], [0], [0], [0]]), np.zeros(1)])  # small, of the right sign
    assert model.evaluate(X, LABELS[:, None])["accuracy"] == 1.0


def test_accuracy_of_several_yes_or_no_answers_counts_each():
    model = compiled(nn.Dense(2, 4), loss="binary_cross_entropy_with_logits", metrics=["accuracy"])
    model.set_weights([np.eye(4, 2), np.zeros(2)])
    both = (X[:, :2] > 0).astype(np.int64)
    assert model.evaluate(X, both)["accuracy"] == 1.0
    assert model.evaluate(X, np.stack([both[:, 0], 1 - both[:, 1]], 1))["accuracy"] == 0.5


def test_accuracy_takes_one_hot_integers():
    model = compiled(nn.Dense(2, 4), metrics=["accuracy"])
    model.set_weights([np.array([[-1.0, 1.0], [0, 0], [0, 0], [0, 0]]), np.zeros(2)])
    assert model.evaluate(X, np.eye(2, dtype=int)[LABELS])["accuracy"] == 1.0


def test_an_integer_prediction_does_not_cut_its_target():
    value = losses.mean_squared_error(np.array([1, 2]), np.array([1.5, 2.5]))
    assert value.item() == 0.25


def test_early_stopping_forgets_the_last_run():
    stop = tg.train.EarlyStopping("loss", patience=50)
    first = compiled(optimizer=tg.optim.SGD(lr=0.2))
    first.fit(X, Y, epochs=30, verbose=0, callbacks=[stop])
    second = compiled(optimizer=tg.optim.SGD(lr=1e-4))
    second.fit(X, Y, epochs=3, verbose=0, callbacks=[stop])
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])
    assert stop.best_epoch <= 2


def test_setting_the_rate_ends_a_schedule_and_groups_keep_theirs():
    p, q = nn.Parameter(np.zeros(1)), nn.Parameter(np.zeros(1))
    opt = tg.optim.SGD(
        [{"params": [p]}, {"params": [q], "lr": 0.5}], lr=tg.optim.schedules.constant(1.0)
    )
    (p.sum() + q.sum()).backward()
    opt.step()
    assert (p.item(), q.item()) == (-1.0, -0.5)
    opt.lr = 0.25
    opt.step()
    assert (p.item(), q.item()) == (-1.25, -0.75)


def test_a_layer_keeps_its_options_in_a_functional_model():
    class Scale(nn.Module):
        def forward(self, x, factor=1.0):
            return x * factor

    inp = nn.Input(3)
    model = nn.Model(inp, Scale()(inp, factor=5.0))
    assert model(np.ones((1, 3), np.float32)).tolist() == [[5.0] * 3]
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Scale"]


def test_symbols_take_operators_on_either_side_and_indices():
    inp = nn.Input(3)
    model = nn.Model(inp, (np.float32([1, 2, 3]) * -inp)[:, 1:])
    assert model(np.ones((2, 3), np.float32)).tolist() == [[-2.0, -3.0]] * 2


def test_a_failed_functional_call_leaves_the_mode_alone():
    model = nn.Sequential(nn.Dropout(0.5), nn.Dense(2, 7))
    with pytest.raises(tg.ShapeError):
        model(nn.Input(3))
    assert model.training
    assert model.layers[0].training


def test_sequential_may_begin_with_an_input():
    model = nn.Sequential([nn.Input((4,)), nn.Dense(3), nn.Dense(1)])
    assert [w.shape for w in model.get_weights()] == [(4, 3), (3,), (3, 1), (1,)]
    with pytest.raises(tg.ShapeError, match=r"Input\(4,\)"):
        model(X[:, :2])


def test_modules_take_numpy_arrays_and_put_them_on_the_default_backend(backend):
    class Net(nn.Module):
        def forward(self, x):
            return x.relu()

    assert Net()(X).backend == backend
    assert nn.Dense(2)(X).backend == backend


def test_weights_may_be_set_from_tensors():
    layer = nn.Dense(1, 4)
    layer.set_weights([tg.ones((4, 1)), tg.zeros(1)])
    assert layer(np.ones((1, 4), np.float32)).item() == 4.0


def test_sizes_may_be_numpy_integers():
    assert nn.Dense(np.int64(3), np.int64(4))(X).shape == (60, 3)


def test_a_list_of_rows_is_one_array():
    batch = next(iter(tg.data.DataLoader([[0, 0], [0, 1], [1, 0]], batch_size=2)))
    assert batch.tolist() == [[0, 0], [0, 1]]
    x, y = next(iter(tg.data.DataLoader([X, Y], batch_size=2)))
    assert (x.shape, y.shape) == ((2, 4), (2, 1))


def test_a_loss_that_is_a_module_is_no_layer():
    class Loss(nn.Module):
        def forward(self, prediction, target):
            return losses.huber(prediction, target)

    class Net(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(1, 4)

        def forward(self, x):
            return self.dense(x)

    net = Net()
    net.compile("sgd", Loss())
    net.fit(X, Y, verbose=0)
    assert [type(layer).__name__ for layer in net.layers] == ["Dense"]


def test_a_diverging_run_is_warned_about_once():
    model = compiled(optimizer=tg.optim.SGD(lr=1e6))
    with pytest.warns(UserWarning, match="the loss became") as caught:
        model.fit(X, Y, epochs=12, verbose=0)
    assert len([w for w in caught if "the loss became" in str(w.message)]) == 1


def fit_again(change):
    model = compiled(nn.Dense(3, 4), optimizer=tg.optim.SGD(lr=0.1))
    model.fit(X, np.ones((60, 3), np.float32), verbose=0)
    change(model)
    model.fit(X, Y, verbose=0)


def two_models_one_optimizer():
    optimizer = tg.optim.Adam()
    for _ in range(2):
        compiled(optimizer=optimizer).fit(X, Y, verbose=0)


def adam_state_into_sgd():
    p = nn.Parameter(np.ones(3))
    p.sum().backward()
    adam = tg.optim.Adam([p])
    adam.step()
    tg.optim.SGD([p], momentum=0.9).load_state_dict(adam.state_dict())


def several_outputs():
    inp = nn.Input(4)
    model = nn.Model(inp, [nn.Dense(1)(inp), nn.Dense(1)(inp)])
    model.compile("sgd", "mse")
    model.fit(X, Y)


CALL = type("Net", (nn.Module,), {"call": lambda self, x: x})
BAD = {
    "layer added after fit": (
        lambda: fit_again(lambda m: m.add(nn.Dense(1, 3))),
        r"would not train layers\[1\]\.weight",
    ),
    "one optimizer, two models": (two_models_one_optimizer, "Compile with a new optimizer"),
    "state of another optimizer": (adam_state_into_sgd, "another optimizer"),
    "binary labels": (
        lambda: compiled(nn.Dense(1, 4, activation="sigmoid"), loss="bce").fit(
            X, 2 * LABELS[:, None] - 1
        ),
        "0 to 1, y has -1",
    ),
    "val_loss without validation": (
        lambda: compiled().fit(X, Y, callbacks=[tg.train.EarlyStopping()]),
        "give fit validation_data",
    ),
    "loss of a vector": (lambda: compiled(loss=lambda p, t: p - t).fit(X, Y), r"take \.mean\(\)"),
    "time in the first axis, then in the second": (
        lambda: nn.Sequential(nn.LSTM(8, 4), nn.Last()),
        "LSTM has batch_first=False, Last after it batch_first=True",
    ),
    "several outputs": (several_outputs, "one for each output"),
    "activation as second argument": (
        lambda: nn.Dense(8, "relu"),
        r"Dense\(units, in_features, activation",
    ),
    "integer dtype": (lambda: nn.Dense(1, 4).astype("int32"), "floating"),
    "functions of symbols": (lambda: tg.relu(nn.Input(3)), "no numbers yet"),
    "call for forward": (lambda: CALL()(X), "not call"),
    "norm to clip to": (
        lambda: tg.optim.SGD([nn.Parameter([1.0])]).clip_grad_norm(-1.0),
        "above 0",
    ),
    "negative decay": (
        lambda: tg.optim.AdamW(weight_decay=-1.0),
        "decay=-1.0 must be a number of 0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        (np.array([True, False]), (3,)),  # short
        ([True, False, False, False], (3,)),  # long, but only False beyond the end
        (np.ones((2, 2), bool), (3, 3)),
        ((slice(None), np.array([True, False])), (2, 3)),
        ((..., np.array([True, False])), (2, 2, 3)),
        ((None, np.array([True, False])), (3,)),
    ],
)
def test_a_mask_of_another_shape_is_refused_as_by_numpy(key, shape):
    with pytest.raises(IndexError):
        np.ones(shape)[key]
    with pytest.raises(tg.IndexingError, match="a mask of shape"):
        tg.ones(shape)[key]


def test_masks_find_their_axes():
    x, m = rng.normal(size=(2, 3, 4)), np.array([True, False, True])
    for key in (
        (0, m),
        (..., m, 1),
        (slice(None), m),
        (None, 0, m),
        (np.eye(2, 3) > 0, 0),
        (..., 0),
    ):
        np.testing.assert_array_equal(tg.tensor(x)[key].numpy(), x[key])
    for key in (True, slice(0.5, None), slice("a"), [[0], [1, 2]]):
        with pytest.raises(tg.DTypeError, match="getitem"):
            tg.tensor(x)[key]


def test_gradients_flow_through_lists_of_tensors():
    for f in (
        lambda v: tg.mean([v, 2 * v]),
        lambda v: tg.asarray([[v, 1.0], [2 * v, 3]], dtype="float64").sum() / 2,
        lambda v: tg.multiply([v, v * v], [0.5, 0.5])[0] * 3,
    ):
        assert tg.grad(f)(3.0).item() == 1.5
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(tg.GraphError, match="stack"):
        tg.tensor([x, x])
    assert tg.tensor([x.detach(), x.detach()]).shape == (2, 1)
    assert nn.Parameter([tg.tensor(1.0), tg.tensor(2.0)]).shape == (2,)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_logsumexp_of_a_masked_row_has_no_nan_gradient():
    x = np.array([[-np.inf, -np.inf], [0.0, 0.0]])
    g = tg.grad(lambda x: tg.logsumexp(x, axis=1).sum())(x)
    np.testing.assert_allclose(g.numpy(), [[0, 0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("layer", "loss", "message"),
    [
        (nn.Dense(2, 4, activation="softmax"), "cross_entropy", "leave out its final softmax"),
        (nn.Dense(1, 4), "binary_cross_entropy", "binary_cross_entropy_with_logits"),
    ],
)
def test_probabilities_are_not_taken_for_logits_nor_logits_for_probabilities(layer, loss, message):
    y = LABELS if loss == "cross_entropy" else LABELS[:, None].astype(np.float32)
    with pytest.raises(tg.ArgumentError, match=message):
        compiled(layer, loss=loss).fit(X, y, verbose=0)


def test_names_of_keras_lead_to_the_right_loss():
    for name in ("sparse_categorical_crossentropy", "categorical_crossentropy"):
        with pytest.raises(tg.ArgumentError, match="cross_entropy, which takes logits"):
            compiled(loss=name)


def test_weights_for_layers_that_have_none_yet():
    saved = nn.Sequential(nn.Dense(3, 4)).state_dict()
    with pytest.raises(tg.ShapeError, match="call the model on a batch first"):
        nn.Sequential(nn.Dense(3)).load_state_dict(saved)


def test_an_optimizer_of_a_model_or_a_rate_says_what_to_give():
    for wrong in (0.1, nn.Dense(1, 4), nn.Sequential(nn.Dense(1, 4))):
        with pytest.raises(tg.ArgumentError, match=r"model.parameters\(\)"):
            tg.optim.Adam(wrong)


def test_a_tensor_that_looks_like_a_parameter_is_not_left_untrained():
    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 1)
            self.scale = tg.tensor([2.0], requires_grad=True)

        def forward(self, x):
            return self.layer(x) * self.scale

    for model, path in ((Net(), "scale"), (nn.Sequential(Net()), r"layers\[0\].scale")):
        with pytest.raises(tg.GraphError, match=f"{path} is a tensor .* nn.Parameter"):
            model.compile("sgd", "mse").fit(X, Y, verbose=0)


def test_two_arrays_for_a_loader_come_in_a_tuple():
    with pytest.raises(tg.ArgumentError, match=r"DataLoader\(\(x, y\)\)"):
        tg.data.DataLoader(X, Y)


@pytest.mark.parametrize("key", [True, False, np.bool_(False)])
def test_a_single_truth_is_not_taken_for_an_integer(key):
    with pytest.raises(tg.DTypeError, match="single True or False"):
        tg.arange(3)[key]


BUFFER = np.array([5.0, 6.0])


class Given(tg.Function):
    """A function whose gradient is an array with other references, or a read-only one."""

    def forward(ctx, x, *, how):
        ctx.how = how
        ctx.save(x)
        return x + 0.0

    def backward(ctx, g):
        if ctx.how == "read-only":
            fixed = np.array([5.0, 6.0])
            fixed.flags.writeable = False
            return fixed
        return BUFFER if ctx.how == "kept" else ctx.saved[0]


@pytest.mark.host
@pytest.mark.parametrize("how", ["saved", "kept", "read-only"])
@pytest.mark.parametrize("mode", ["reference", "always"])
def test_a_gradient_that_a_function_gives_is_not_written_to_nor_shared(how, mode):
    x = tg.tensor(BUFFER, requires_grad=True)
    with tg.use_kernels(mode):
        Given.apply(x, how=how).sum().backward()
        x.grad.data[...] += 1
        (x * 3.0 + Given.apply(x, how=how)).sum().backward()
        first = Given.apply(x * 1.0, how=how)
        (first + x * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [6 + 8 + 8, 7 + 9 + 9])
    np.testing.assert_array_equal(x.numpy(), [5, 6])
    np.testing.assert_array_equal(BUFFER, [5, 6])


class Clipped(tg.Function):
    """A backward that modifies a copy of the cotangent in place."""

    def forward(ctx, x):
        ctx.save(x)
        return np.maximum(x, 0)

    def backward(ctx, g):
        g = g.copy()
        g[ctx.saved[0] < 0] = 0
        return g


@pytest.mark.parametrize("mode", ["reference", "always"])
def test_a_function_sees_the_same_arrays_at_any_size(mode):
    x = tg.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    with tg.use_kernels(mode):
        Clipped.apply(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1]


class Through(tg.Function):
    """A backward that returns raw arrays even for create_graph."""

    def forward(ctx, x):
        return x.round()

    def backward(ctx, g):
        return ctx.xp.full(g.shape, 2.0)


@pytest.mark.parametrize("mode", ["reference", "always"])
def test_a_gradient_given_as_an_array_is_a_tensor_where_it_is_differentiated(mode):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.use_kernels(mode):
        Through.apply(x).sum().backward(create_graph=True)
        assert isinstance(x.grad, tg.Tensor)
        x.grad = None
        Through.apply(x * x).sum().backward(create_graph=True)
        second = tg.grad(lambda x: tg.grad(lambda x: Through.apply(x * x).sum())(x).sum())(x)
    assert (x.grad.tolist(), second.tolist()) == ([4, 8], [4, 4])
