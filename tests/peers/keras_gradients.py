"""Gradients of the functions of keras.ops, for the backend of this process (tensorgrad or jax): run
as `KERAS_BACKEND=jax python tests/peers/keras_gradients.py`, which prints, as JSON, each call's
gradients for its inputs, "refused" for a NotImplementedError, or the error.
"""

import json
import re
import sys

import keras
import numpy as np
from keras import ops


def random(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


square = random(3, 3, seed=5)
INPUTS = {
    "x": random(3, 4),
    "y": random(3, 4, seed=1),
    "p": random(3, 4, seed=2, low=0.2, high=0.8),
    "q": random(4, 3, seed=3),
    "v": random(4, seed=4),
    "u": random(3, seed=8),
    "m": square @ square.T + np.eye(3, dtype="float32"),
    "s": square,
    "b": random(3, 2, seed=6),
    "nan": np.where(random(3, 4, seed=2) > 1, np.nan, random(3, 4)).astype("float32"),
    "im": random(2, 6, 5, 3, seed=7, low=0.1, high=0.9),
    "im1": random(6, 5, 3, seed=7, low=0.1, high=0.9),
    "seq": random(2, 7, 3, seed=9),
    "vol": random(1, 4, 4, 4, 2, seed=9),
    "k1": random(3, 3, 2, seed=10),
    "k2": random(3, 2, 3, 4, seed=10),
    "kd": random(2, 3, 3, 2, seed=11),
    "kt": random(3, 3, 2, 3, seed=12),
    "k3": random(2, 2, 2, 2, 3, seed=10),
    "pw": random(1, 1, 6, 2, seed=13),
    "a4": random(2, 3, 2, 4, seed=14),
    "b4": random(2, 5, 2, 4, seed=15),
    "c4": random(2, 5, 2, 4, seed=16),
    "bias": random(2, 2, 3, 5, seed=17),
    "sig": random(2, 16, seed=18),
    "spec": random(2, 9, seed=19),
    "spec2": random(2, 9, seed=20),
    "fr": random(2, 5, 5, seed=19),
    "fi": random(2, 5, 5, seed=20),
    "ch": random(3, seed=21),
    "pos": random(3, seed=22, low=0.5, high=1.5),
    "logits": random(2, 6, 4, seed=23),
    "at": random(2, 5, seed=24, low=0.2, high=2.4),
    "cols": random(2, 12, 12, seed=25),
    "deep": random(2, 3, 3, 8, seed=26),
}

CORNERS = [[[0.0, 0], [0, 4], [5, 0], [5, 4]]] * 2
MOVED = [[[0.5, 0.0], [0, 4], [5, 0.3], [4, 4]]] * 2

# Calls by line; what they take of INPUTS is differentiated.
CALLS = """
abs(x) absolute(x) fabs(x) negative(x) sign(x) square(x) sin(x) cos(x) tan(x) sinh(x) cosh(x)
tanh(x) arcsin(p) arccos(p) arctan(x) arcsinh(x) arccosh(p+1) arctanh(p) exp(x) exp2(x) expm1(x)
log(p) log2(p) log10(p) log1p(p) sqrt(p) rsqrt(p) cbrt(p) reciprocal(p) sinc(x) i0(x) deg2rad(x)
rad2deg(x) erf(x) erfc(x) erfinv(p) ceil(x) floor(x) round(x) trunc(x) signbit(x) real(x) conj(x)
conjugate(x) relu(x) relu6(x) sigmoid(x) silu(x) swish(x) softplus(x) softsign(x) log_sigmoid(x)
leaky_relu(x) hard_sigmoid(x) hard_silu(x) hard_swish(x) hard_tanh(x) hard_shrink(x) soft_shrink(x)
tanh_shrink(x) threshold(x,0.3,0.1) elu(x) selu(x) celu(x) gelu(x) gelu(x,False) glu(x)
squareplus(x) sparse_plus(x) sparse_sigmoid(x) sparsemax(x) softmax(x) softmax(x,axis=None)
log_softmax(x) log_softmax(x,axis=0) add(x,y) subtract(x,y) multiply(x,y) divide(x,p)
true_divide(x,p) divide_no_nan(x,p) power(p,y) maximum(x,y) minimum(x,y) fmax(x,y) fmin(x,y)
mod(x,p) fmod(x,p) floor_divide(x,p) arctan2(x,y) hypot(x,y) logaddexp(x,y) logaddexp2(x,y)
heaviside(x,y) where(x>0,x,y) clip(x,-1,1) clip(x,-p,p) select([x>1,x>0],[x,y],0.5) nan_to_num(nan)
ldexp(x,2) saturate_cast(x,"float32") sum(x) sum(x,axis=1) mean(x,axis=0,keepdims=True)
prod(x,axis=1) max(x,axis=1) min(x) amax(x,axis=0) amin(x) var(x,axis=1) std(x)
average(x,axis=1,weights=p) median(x,axis=1) quantile(x,0.3,axis=1) percentile(x,30,axis=0)
ptp(x,axis=1) logsumexp(x,axis=1) norm(x) norm(x,ord=1,axis=1) normalize(x) norm(s,ord="nuc")
norm(s,ord=2) norm(x,ord="fro",axis=(0,1)) cumsum(x,axis=1) cumprod(x,axis=1) diff(x)
trapezoid(x,dx=0.5) trace(s) corrcoef(x) nansum(nan) nanmean(nan,axis=1) nanvar(nan,axis=0)
nanstd(nan) nanmax(nan,axis=1) nanmin(nan) nanprod(nan,axis=1) nancumsum(nan,axis=1)
nancumprod(nan,axis=0) nanmedian(nan,axis=1) nanquantile(nan,0.4) nanpercentile(nan,40,axis=0)
moments(x,axes=[0]) batch_normalization(seq,ch,pos,-1,ch,pos) layer_normalization(x,v,v)
rms_normalization(x,v) top_k(x,2) sort(x) sort(x,axis=0) argsort(x) unique(x) matmul(x,q) dot(x,q)
inner(x,y) outer(u,v) vdot(x,y) tensordot(x,q,axes=1) kron(s,b) cross(u,ch) einsum("ij,jk->ik",x,q)
einsum("ij,ij->i",x,y) bincount(ops.array([0,1,1,2]),weights=v) correlate(v,u) cholesky(m)
cholesky_inverse(m)
det(m) inv(s) solve(m,b) solve_triangular(m,b,lower=True) lstsq(x,u) pinv(x) qr(s) eigh(m)
svd(x,compute_uv=False) slogdet(m)[1] logdet(m) lu_factor(s) cdist(x,y) append(x,y) array(x)
broadcast_to(v,(3,4)) concatenate([x,y],axis=1) stack([x,y]) hstack([x,y]) vstack([x,y])
dstack([x,y]) copy(x) diag(s) diag(v) diagflat(v) diagonal(s) expand_dims(x,1) flip(x) fliplr(x)
flipud(x) moveaxis(x,0,1) pad(x,1) pad(x,((1,2),(0,1)),"reflect") pad(x,1,"edge") ravel(x)
pad(x,2,"symmetric") pad(x,1,"wrap") repeat(x,2,axis=1) reshape(x,(2,6)) roll(x,1,axis=0) rot90(x)
split(x,2,axis=1) array_split(x,3,axis=1) hsplit(x,2) vsplit(q,2) dsplit(a4,2)
get_item(x,1) squeeze(x) swapaxes(x,0,1)
take(x,[0,2,-1],axis=0) take(x,[3,1],axis=1) take_along_axis(x,[[0],[1],[2]],axis=1) tile(x,(2,1))
transpose(x) tril(x) triu(x,1) unstack(x) meshgrid(u,v) vander(v) linspace(u,ch,4) logspace(u,ch,3)
geomspace(pos,pos+1,3) full((2,),v[0]) cast(x,"float16") convert_to_tensor(x) view_as_complex(b)
view_as_real(view_as_complex(b)) rearrange(x,"i~(j~k)->j~i~k",j=2) stop_gradient(x)
scatter(ops.array([[0],[2],[0]]),u,(4,)) scatter_update(x,[[0],[2]],[v,v]) slice(x,[1,1],[2,2])
scatter_update(x,[[0],[2]],[v,v],reduction="add") scatter_update(x,[[1]],[v],reduction="max")
slice_update(x,[1,0],b[:2]) segment_sum(x,ops.array([0,1,0]),2) segment_max(x,ops.array([0,1,0]),3)
segment_min(x,ops.array([0,1,0]),2) segment_prod(x,ops.array([0,1,0]),2)
cond(True,lambda:x*2,lambda:x) map(ops.sin,x) vectorized_map(ops.sum,x)
scan(lambda(c,a):(c*a,c+a),v,x) associative_scan(lambda(a,b):a*b,x)
associative_scan(ops.add,x,reverse=True) fori_loop(0,3,lambda(i,a):a*v+i,v)
while_loop(lambda(a,):ops.sum(a)<9,lambda(a,):(a*a+0.5,),(v,)) switch(1,[ops.sin,ops.cos],x)
vectorize(ops.tanh)(x) conv(im,k2) conv(im,k2,2,"same") conv(im,k2,1,"valid",dilation_rate=(1,2))
conv(seq,k1,padding="same") conv(vol,k3) depthwise_conv(im,kd) separable_conv(im,kd,pw,2,"same")
conv_transpose(im,kt,2,"same") conv_transpose(im,kt,2) max_pool(im,2,2) max_pool(im,(3,2),2,"same")
max_pool(seq,2,2) max_pool(vol,2,2)
average_pool(im,2,2,"same") average_pool(seq,3,1)
adaptive_average_pool(im,2) adaptive_max_pool(im,(2,3)) dot_product_attention(a4,b4,c4)
dot_product_attention(a4,b4,c4,bias=bias) dot_product_attention(a4,b4,c4,is_causal=True)
unfold(ops.transpose(im,(0,3,1,2)),2) fold(cols,(4,5),2) depth_to_space(deep,2)
space_to_depth(im[:,:,:4],2) psnr(x,y,2.0) polar(p,x) angle(view_as_complex(b))
imag(view_as_complex(b)) categorical_crossentropy(p,p)
categorical_crossentropy(p,x,from_logits=True) sparse_categorical_crossentropy([1,0,3],p)
sparse_categorical_crossentropy([1,0,3],x,from_logits=True) binary_crossentropy(p,p)
binary_crossentropy(p,x,from_logits=True) ctc_loss([[1,2],[3,0]],logits,[2,1],[6,5])
ctc_decode(logits,[6,5]) fft((fr,fi)) fft2((fr,fi)) ifft2((fr,fi)) rfft(sig) irfft((spec,spec2))
stft(sig,4,2,8) istft((fr,fi),8,2,8) extract_sequences(sig,4,2) image.rgb_to_grayscale(im)
image.rgb_to_hsv(im) image.hsv_to_rgb(im) image.resize(im,(4,7))
image.resize(im,(3,8),interpolation="bicubic",antialias=True)
image.resize(im,(3,3),interpolation="nearest") image.resize(im,(7,4),interpolation="lanczos3")
image.affine_transform(im,ops.array([[1.1,.1,.3,-.1,.9,.2,0.,0.]]*2))
image.perspective_transform(im,ops.array(CORNERS),ops.array(MOVED))
image.map_coordinates(x,at,1) image.map_coordinates(x,at,1,"reflect") image.map_coordinates(x,at,0)
image.gaussian_blur(im,(3,3),(1.,.7),"channels_last") image.sobel_edges(im,"channels_last")
image.crop_images(im,1,1,2,2)
image.pad_images(im,1,1,9,9) image.extract_patches(im,2)
image.scale_and_translate(im,(2,5,4,3),[.9,.8],[.1,.2],(1,2),"linear")
"""
ROWS = [row.replace("~", " ") for row in CALLS.split()]


def written(row):
    """The Python of a row: lambdas have their arguments in brackets there, to have no spaces."""
    return re.sub(r"lambda\(([^)]*)\):", r"lambda \1:", row.replace("lambda:", "lambda :"))


def evaluate(row, given):
    names = {**globals(), **INPUTS, **given, **{n: getattr(ops, n) for n in dir(ops)}}
    y = eval(written(f"ops.{row}"), names)
    total = 0.0
    for i, part in enumerate(keras.tree.flatten(y)):
        dtype = keras.backend.standardize_dtype(getattr(part, "dtype", "int32"))
        parts = [ops.real(part), ops.imag(part)] if dtype.startswith("complex") else [part]
        if "float" not in dtype and "complex" not in dtype:
            parts = []
        for j, a in enumerate(parts):
            weights = random(*a.shape, seed=100 + i + 7 * j)
            if "eigh" in row or "qr(" in row:  # vectors have a sign of their own
                a = a * a
            total = total + ops.sum(ops.cast(a, "float32") * weights)
    return total


def gradients(row):
    names = [n for n in INPUTS if re.search(rf"(?<![\w.\"'])(?<!lambda\(){n}\b(?!\w|=)", row)]
    bound = set(",".join(re.findall(r"lambda\(([^)]*)\)", row)).split(","))
    names = [n for n in names if n not in bound]
    arrays = [INPUTS[n] for n in names]

    def f(*xs):
        return evaluate(row, dict(zip(names, xs, strict=True)))

    if keras.backend.backend() == "jax":
        import jax
        import jax.numpy as jnp

        def plain(*xs):
            return jnp.asarray(f(*xs), "float32")

        gradient = jax.grad(plain, tuple(range(len(arrays))))
        given = [jnp.asarray(a) for a in arrays]
        try:
            found = jax.jit(gradient)(*given)  # compiled once, not for each function within
        except (TypeError, jax.errors.JAXTypeError):  # what needs numbers as they are
            found = gradient(*given)
    else:
        import tensorgrad as tg

        leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
        y = f(*leaves)
        if getattr(y, "node", None) is None:
            return ["no path"] * len(leaves)
        y.backward()
        found = ["no path" if x.grad is None else x.grad.numpy() for x in leaves]
    return [g if isinstance(g, str) else np.asarray(g).astype("float64").ravel().tolist()
            for g in found]  # fmt: skip


def main(rows):
    made = {}
    for row in rows:
        try:
            made[row] = gradients(row)
        except NotImplementedError as error:
            made[row] = f"refused: {error}"
        except Exception as error:
            made[row] = f"error: {type(error).__name__}: {error}"[:300]
    return made


if __name__ == "__main__":
    chosen = [r for r in ROWS if any(r.startswith(a) for a in sys.argv[1:]) or len(sys.argv) < 2]
    print(json.dumps(main(chosen)))
