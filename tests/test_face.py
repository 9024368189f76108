"""The table of ops and the public face, held together: every op is public under a documented,
typed function that a reader can open, or it is named here as internal."""

import ast
import doctest
import importlib
import inspect
import operator
import pkgutil
import re
import typing
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.core import OPS

from . import loss_cases
from .rows import of_each

pytestmark = pytest.mark.host

PACKAGE = Path(tg.__file__).parent
LOSSES = [n for n in tg.losses.__all__ if n in OPS]
ALIASES = {  # an op -> the public function that is it under another name
    "dense_gelu": "dense",
    "gelu_erf": "gelu",
    "cast": "Tensor.astype",
    "move": "Tensor.to",
    "getitem": "Tensor.__getitem__",
    "full_like": "zeros_like",
    "concat": "concatenate",
    "softmax_cross_entropy": "losses.cross_entropy",
    **{n: f"losses.{n}" for n in LOSSES},
}
INTERNAL = set(
    """accumulate optimizer_step advance_product rescale update_running advance_random advance_scale
    advance_step random_bits conv2d_input conv2d_weight gather_places scatter_places scatter_add
    sum_of_squares cast_all sum_to cofactor correlate_valid repeat_each running_extreme
    segment_extreme top_indices adafactor lamb muon gamma_path block_step gather_sum
    gather_dot largest_places pick pick_grad step_of_rows""".split()
)


def families():
    """The modules that hold the public functions."""
    home = PACKAGE / "functions"
    assert home.is_dir(), "tensorgrad/functions/ holds the public functions"
    names = [m.name for m in pkgutil.iter_modules([str(home)]) if m.name != "inputs"]
    return [importlib.import_module(f"tensorgrad.functions.{name}") for name in names]


NAMESPACES = [n for n in ("linalg", "fft", "random") if (PACKAGE / n).exists()]  # tg.linalg.solve


def public():
    """{name: function} of what those modules define and do not hide."""
    found = {}
    spaces = [(f"{n}.", importlib.import_module(f"tensorgrad.{n}")) for n in NAMESPACES]
    for prefix, module in [("", m) for m in families()] + spaces:
        for name, f in vars(module).items():
            here = inspect.isfunction(f) and f"{inspect.unwrap(f).__module__}.".startswith(
                f"{module.__name__}."
            )
            if here and f.__name__ == name and not name.startswith("_"):
                found[prefix + name] = f
    return found


FUNCTIONS = public()
NAMES = {name.rpartition(".")[2] for name in FUNCTIONS}
BY_NAME = sorted(FUNCTIONS.items())


# --- the table ------------------------------------------------------------------------------------


@of_each("name", sorted(OPS))
def test_every_op_is_public_or_named_as_internal(name):
    if name in INTERNAL or name.endswith("_grad"):
        assert name not in NAMES, f"{name} is public: take it off the list"
        return
    if name in ALIASES:
        assert callable(operator.attrgetter(ALIASES[name])(tg))
        return
    assert name in NAMES, f"the op {name} has no function in tensorgrad/functions/"


def test_the_lists_name_no_op_that_is_gone():
    assert not INTERNAL - set(OPS)
    assert not set(ALIASES) - set(OPS)


def test_dtypes_are_listed():
    assert set(importlib.import_module("tensorgrad.dtypes").__all__) <= set(tg.__all__)


def test_families_that_are_imported_later_are_listed():
    for family, names in tg.functions.LATER.items():
        module = importlib.import_module(f"tensorgrad.functions.{family}")
        assert names.split() == module.__all__, f"functions/__init__.py: LATER[{family!r}]"


def test_no_public_function_is_missing_or_generated():
    lost = [n for n in tg.__all__ if not hasattr(tg, n)]
    assert not lost
    for name in tg.__all__:
        made = getattr(tg, name)
        if inspect.isfunction(made):
            file = Path(inspect.getsourcefile(inspect.unwrap(made)))
            assert file.is_relative_to(PACKAGE), f"{name} comes from {file}"
            assert re.search(rf"def {made.__name__}_?\(", inspect.getsource(made)), name


def test_there_are_no_stubs_and_no_generator_of_them():
    assert not list(PACKAGE.rglob("*.pyi"))
    assert (PACKAGE / "py.typed").exists()


# --- each function --------------------------------------------------------------------------------


@of_each(("name", "function"), BY_NAME)
def test_a_public_function_is_reached_by_its_name(name, function):
    space, _, name = name.rpartition(".")
    space = getattr(tg, space) if space else tg
    assert getattr(space, name) is function
    assert name in space.__all__
    assert function.__name__ == name
    assert function.__module__.startswith("tensorgrad")


@of_each(("name", "function"), BY_NAME)
def test_a_public_function_can_be_read(name, function):
    source = inspect.getsource(inspect.unwrap(function))
    assert source.lstrip().startswith(("def ", "@"))
    file = Path(inspect.getsourcefile(inspect.unwrap(function)))
    assert file.parent.name in ("functions", *NAMESPACES)
    assert inspect.signature(function) == inspect.signature(inspect.unwrap(function))
    body = ast.parse(inspect.cleandoc(source) if source.startswith(" ") else source).body[0]
    assert isinstance(body, ast.FunctionDef)
    assert body.args.kwarg is None, "options are named, not **kwargs"


@of_each(("name", "function"), BY_NAME)
def test_a_public_function_is_documented_with_an_example(name, function):
    doc = inspect.getdoc(function)
    assert doc, "no docstring"
    first = doc.splitlines()[0]
    assert first.endswith((".", ":", ",", ";")) or "\n" in doc
    assert len(first) <= 100
    examples = doctest.DocTestParser().get_examples(doc)
    assert examples, "no example"
    assert any(e.want for e in examples), "the example shows no result"
    assert "..." not in "".join(e.want for e in examples), "an example is exact"
    called = name.rpartition(".")[2]
    assert any(called in e.source for e in examples), "the example does not call it"


def contains_any(kind):
    return kind is typing.Any or any(map(contains_any, typing.get_args(kind)))


@of_each(("name", "function"), BY_NAME)
def test_a_public_function_is_typed(name, function):
    plain = inspect.unwrap(function)
    signature = inspect.signature(plain)
    for p in signature.parameters.values():
        assert p.annotation is not p.empty, f"{name}: {p.name} has no type"
    returns = str(signature.return_annotation)
    if hasattr(named := vars(inspect.getmodule(plain)).get(returns), "_fields"):
        returns = f"{named.__annotations__}"
    assert "Tensor" in returns, f"{name} returns {returns}"
    assert "Any" not in returns.replace("np.dtype[Any]", "")


@of_each(("name", "function"), BY_NAME)
def test_the_function_has_the_parameters_of_its_op(name, function):
    """What an op takes, its function takes under the same word, and with the same default."""
    if name not in OPS:
        return
    op, taken = OPS[name], inspect.signature(function).parameters
    others = {
        "sections": "indices_or_sections",
        "value": "constant_values",
        "labels": "target",
        "t": "target",
        "p": "prediction",
    }
    for word, default in op.params.items():
        word = word if word in taken else others.get(word, word)
        assert word in taken, f"{name}: {word}= is missing"
        given = taken[word].default
        if default is not ... and given not in (inspect.Parameter.empty, None, default):
            pairs = isinstance(default, tuple) and given == default[0]
            assert pairs or default == "none", f"{name}: {word}={given!r}, the op has {default!r}"


@of_each(("name", "function"), BY_NAME)
def test_a_wrong_argument_is_an_error_that_names_it(name, function):
    with pytest.raises(TypeError) as caught:
        function(no_such_option=1)
    assert "no_such_option" in str(caught.value) or "missing" in str(caught.value)


# --- methods --------------------------------------------------------------------------------------

METHODS = [
    (n, FUNCTIONS[n], vars(tg.Tensor)[n])
    for n in sorted(FUNCTIONS)
    if n in vars(tg.Tensor) and not isinstance(vars(tg.Tensor)[n], property)  # x.real
]
FREE = ("reshape", "transpose", "permute_dims", "compress")  # x.reshape(2, 3), as NumPy's


def test_there_are_methods():
    names = {name for name, *_ in METHODS}
    assert names >= set("sum mean max min exp log reshape transpose clip softmax relu std".split())


@of_each(("name", "function", "method"), METHODS)
def test_a_method_takes_what_its_function_takes(name, function, method):
    assert inspect.isfunction(method)
    ours, theirs = inspect.signature(method), inspect.signature(function)
    mine, its = list(ours.parameters.values())[1:], list(theirs.parameters.values())[1:]
    if name not in FREE:
        assert [p.name for p in mine] == [p.name for p in its]
        assert [p.default for p in mine] == [p.default for p in its]
        assert [p.kind for p in mine] == [p.kind for p in its]
        assert [p.annotation for p in mine] == [p.annotation for p in its]
    assert ours.return_annotation == theirs.return_annotation


@of_each(("name", "function", "method"), METHODS)
def test_a_method_is_documented_as_its_function(name, function, method):
    doc = inspect.getdoc(method)
    assert doc
    words = " ".join(inspect.getdoc(function).split()[:3])
    assert f"tg.{name}" in doc or " ".join(doc.split()).startswith(words)


@of_each("name", [n for n in sorted(vars(tg.Tensor)) if not n.startswith("_")])
def test_everything_a_tensor_has_can_be_read(name):
    member = inspect.getattr_static(tg.Tensor, name)
    if isinstance(member, property):
        assert inspect.getdoc(member), f"Tensor.{name} has no docstring"
        member = member.fget
    if inspect.isfunction(member):
        assert inspect.getdoc(member) or inspect.getdoc(getattr(tg.Tensor, name))
        source = inspect.getsource(member)
        assert Path(inspect.getsourcefile(member)).is_relative_to(PACKAGE)
        assert re.search(rf"def {name}\(", source), f"Tensor.{name} is not written as such"
        assert inspect.signature(member).return_annotation is not inspect.Signature.empty


DUNDERS = """add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod
pow rpow matmul rmatmul and rand or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert
iadd isub imul itruediv ifloordiv imod ipow imatmul iand ior ixor ilshift irshift eq ne lt le gt ge
getitem setitem contains len iter bool int float complex index round format repr hash array
array_ufunc array_function dlpack dlpack_device""".split()


@pytest.mark.parametrize("name", DUNDERS)
def test_operators_are_written_where_people_and_type_checkers_look(name):
    """An operator may be the op's own call, which is quicker; then its signature is written."""
    assert callable(getattr(tg.Tensor, f"__{name}__"))
    written = re.compile(rf"^    +(def __{name}__\(\s*self|__{name}__ = )", re.M)
    assert any(written.search(path.read_text()) for path in PACKAGE.glob("*.py"))


# --- one name, one meaning ------------------------------------------------------------------------


def test_a_name_in_two_places_is_one_thing():
    assert tg.binary_cross_entropy is tg.losses.binary_cross_entropy
    assert tg.binary_cross_entropy_with_logits is tg.losses.binary_cross_entropy_with_logits
    assert tg.mean_squared_error is tg.losses.mean_squared_error
    for name in ("concat", "concatenate"):
        assert tg.concat([[1.0], [2.0]]).tolist() == getattr(tg, name)([[1.0], [2.0]]).tolist()


@pytest.mark.parametrize("name", loss_cases.NAMES)
def test_losses_have_a_reduction_and_weights(name):
    loss, (p, t) = tg.losses.LOSSES[name], loss_cases.case(name)
    each = loss(p, t, reduction="none")
    assert each.shape == (p.shape[:1] if name in loss_cases.OF_ROWS else p.shape)
    for w in (np.arange(6.0), np.arange(6.0 * 4).reshape(6, 4)[:, : each.size // 6].squeeze()):
        whole, wide = loss(p, t, sample_weight=w), np.broadcast_to(w.reshape(6, -1), (6, 4))
        wide = wide if each.ndim == 2 else wide[:, 0]
        assert whole.item() == pytest.approx((wide * each.numpy()).sum() / wide.sum())
    with pytest.raises(tg.ShapeError, match=r"sample_weight of shape \(5,\).*\(6,\)"):
        loss(p, t, sample_weight=np.ones(5))
    assert loss(p, t).item() == pytest.approx(each.mean().item())
    assert loss(p, t, reduction="mean").item() == pytest.approx(each.mean().item())
    assert loss(p, t, reduction="sum").item() == pytest.approx(each.sum().item())
    with pytest.raises(tg.ArgumentError, match=r"reduction.*average.*mean"):
        loss(p, t, reduction="average")


def test_functional_dropout_draws_from_the_seeded_generator():
    tg.seed(3)
    first = tg.dropout(tg.ones(100), 0.5).tolist()
    second = tg.dropout(tg.ones(100), p=0.5).tolist()
    tg.seed(3)
    assert tg.dropout(tg.ones(100), 0.5).tolist() == first != second
    assert set(first) == {0.0, 2.0}


WORDS = {
    "tg.cat": "concat",
    "tg.svd": "tg.linalg.svd",
    "tg.norm": "tg.linalg.norm",
    "tg.unsqueeze": "expand_dims",
    "tg.clamp": "clip",
    "tg.Linear": "nn.Linear",
    "tg.Variable": "tensor",
    "tg.jacrev": r"tg\.jacobian\(",
    "tg.no_such": "no_such",
    "t.long": "astype",
    "t.float": "astype",
    "t.view": "reshape",
    "t.unsqueeze": "expand_dims",
    "t.clamp": "clip",
    "t.numel": "size",
    "t.tril": r"tg\.tril\(x",
    "tg.repeat_interleave": r"tg\.repeat\(",
    "t.sumn": "sum",
    "tg.nn.BatchNormalization": "BatchNorm",
    "tg.nn.CategoricalCrossentropy": "cross_entropy",
    "tg.optim.RMSProp": "RMSprop",
    "tg.losses.mse_loss": "mean_squared_error|mse",
}


@pytest.mark.parametrize("program", WORDS)
def test_a_name_of_another_framework_is_told_ours(program):
    with pytest.raises(AttributeError, match=WORDS[program]):
        eval(program, {"tg": tg, "t": tg.tensor([1.0])})


def test_completion_knows_every_name():
    assert set(tg.__all__) <= set(dir(tg))
    assert {"sum", "reshape", "grad", "shape", "backward"} <= set(dir(tg.tensor(1.0)))
