"""The PyTorch network of the throughput race is the suite's own, copied weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks._throughput_cases import CASES, flat_case, volume_case
from slicebench.models.unet import UNet
from slicebench.training.engine import count_parameters
from slicebench.training.loss import segmentation_loss

torch = pytest.importorskip("torch", reason="PyTorch is in the extra `bench`")

from benchmarks import _throughput_torch, _torch_unet  # noqa: E402

FLAT = flat_case(4, 2, (8, 12), 2, classes=3, slices=6)
DEEP = volume_case(4, 2, (4, 8, 8), 2, volume=(5, 10, 9), volumes=4, classes=3)
SMALL = {"2d": FLAT, "3d": DEEP}
NORMS = ("instance", "group")


def pairs(network, torch_network):
    """Yields (ours, theirs, kernel?) for every weight, in layer order."""
    for ours, theirs in (
        (network.encoder, torch_network.encoder),
        (network.decoder, torch_network.decoder),
    ):
        for pair, level in zip(ours, theirs, strict=True):
            for number, block in enumerate(pair):
                yield block.kernel, level[3 * number].weight, True
                yield block.scale, level[3 * number + 1].weight, False
                yield block.shift, level[3 * number + 1].bias, False
    yield network.head, torch_network.head.weight, True
    yield network.head_bias, torch_network.head.bias, False


def as_torch(value, is_kernel):
    """Space, inputs, outputs become outputs, inputs, space."""
    array = np.array(value)
    if is_kernel:
        array = np.moveaxis(array, (-1, -2), (0, 1)).copy()
    return torch.from_numpy(array)


@pytest.fixture(scope="module", params=SMALL)
def case(request):
    return SMALL[request.param]


@pytest.fixture(scope="module")
def ours(case):
    """The suite's network; gains and shifts are random, so that a mix-up shows."""
    rng = np.random.default_rng(3)

    def build():
        return UNet(case.program, rngs=nnx.Rngs(params=0))

    graph, shapes = nnx.split(nnx.eval_shape(build))

    def draw(leaf):
        noise = 0.3 * rng.standard_normal(leaf.shape, np.float32)
        return noise + np.float32(leaf.ndim == 1)

    return nnx.merge(graph, jax.tree.map(draw, shapes))


def twin(ours, case, norm="instance"):
    network = _torch_unet.TorchUNet(case.program, norm)
    for mine, other, is_kernel in pairs(ours, network):
        with torch.no_grad():
            other.copy_(as_torch(mine[...], is_kernel))
    return network


def first_batch(case, channels_last=False):
    method = _throughput_torch.Method(channels_last=channels_last)
    return _throughput_torch.ready_batches(case, method)[0]


@pytest.mark.parametrize("name", CASES)
def test_equal_number_of_weights(name):
    case = CASES[name]
    with torch.device("meta"):
        network = _torch_unet.TorchUNet(case.program)
    total = sum(leaf.numel() for leaf in network.parameters())
    assert total == count_parameters(case.program)


def test_equal_weights_give_equal_outputs(ours, case):
    graph, params = nnx.split(ours)
    forward = jax.jit(lambda params, batch: nnx.merge(graph, params)(batch))
    expected = np.asarray(forward(params, case.draw_patches()[0][: case.batch]))
    assert expected.shape == (case.batch, *case.program.patch, 3)
    assert expected.std() > 0.1
    for norm, channels_last in itertools.product(NORMS, (False, True)):
        theirs = twin(ours, case, norm)
        if channels_last:
            layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
            theirs = theirs.to(memory_format=layouts[expected.ndim])
        with torch.no_grad():
            logits = theirs(first_batch(case, channels_last)[0]).movedim(1, -1)
        np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


def test_ready_batches_are_the_patches_in_order(case):
    images, labels = case.draw_patches()
    batches = _throughput_torch.ready_batches(case, _throughput_torch.Method())
    assert len(batches) == len(images) // case.batch
    joined = torch.cat([batch for batch, _ in batches]).movedim(1, -1).numpy()
    np.testing.assert_array_equal(joined, images)
    np.testing.assert_array_equal(torch.cat([y for _, y in batches]), labels)


def test_batches_have_the_layout_asked_for(case):
    images, _ = first_batch(case, channels_last=True)
    assert images.stride(1) == 1 or images.shape[1] == 1
    method = _throughput_torch.Method(channels_last=True)
    network = _throughput_torch._make(case, method, "cpu")
    kernel = network.encoder[0][3].weight
    assert kernel.stride(1) == 1


def test_patches_are_corners_of_the_volumes():
    images, labels = DEEP.draw()
    patches, truth = DEEP.draw_patches()
    assert patches.shape == (4, 4, 8, 8, 1)
    np.testing.assert_array_equal(patches[1], images[5:9, :8, :8])
    np.testing.assert_array_equal(truth[3], labels[15:19, :8, :8])


def test_equal_losses():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 4, 6, 3)).astype(np.float32)
    labels = rng.integers(3, size=(2, 4, 6)).astype(np.uint8)
    theirs = _torch_unet.torch_loss(
        torch.from_numpy(logits).movedim(-1, 1), torch.from_numpy(labels).long()
    )
    assert float(theirs) == pytest.approx(
        float(segmentation_loss(jnp.asarray(logits), jnp.asarray(labels))), abs=1e-5
    )


def test_loss_is_the_formula_where_it_can_be_worked_out():
    # Even scores: entropy log 2, every share 1/2, half of 8 pixels foreground.
    labels = torch.tensor([[[0, 1], [1, 0]], [[1, 1], [0, 0]]])
    loss = _torch_unet.torch_loss(torch.zeros(2, 2, 2, 2), labels)
    dice = (2 * 4 * 0.5 + 1) / (4 + 8 * 0.5 + 1)
    assert float(loss) == pytest.approx(np.log(2) + 1 - dice, abs=1e-6)


def test_one_training_step_gives_equal_gradients_and_weights(ours, case):
    theirs = twin(ours, case)
    images, labels = (array[: case.batch] for array in case.draw_patches())
    graph, params = nnx.split(ours)

    def loss_of(params):
        scores = nnx.merge(graph, params)(jnp.asarray(images))
        return segmentation_loss(scores, jnp.asarray(labels))

    training = case.program.training
    optimizer = optax.adamw(training.learning_rate, weight_decay=training.weight_decay)

    @jax.jit
    def step(params):
        slopes = jax.grad(loss_of)(params)
        updates, _ = optimizer.update(slopes, optimizer.init(params), params)
        return slopes, optax.apply_updates(params, updates)

    slope_network, stepped = (nnx.merge(graph, part) for part in step(params))

    torch_optimizer = _torch_unet.make_torch_optimizer(theirs, training)
    _torch_unet.network_loss(theirs, *first_batch(case)).backward()
    for mine, other, is_kernel in pairs(slope_network, theirs):
        expected = as_torch(mine[...], is_kernel)
        torch.testing.assert_close(other.grad, expected, atol=1e-4, rtol=1e-3)
    # AdamW's first step is the gradient's sign: noise decides where it is nil.
    certain = [leaf.grad.abs() > 1e-4 for leaf in theirs.parameters()]
    assert sum(int(mask.sum()) for mask in certain) > 0.8 * sum(
        mask.numel() for mask in certain
    )
    torch_optimizer.step()
    for mine, other, is_kernel in pairs(stepped, theirs):
        mask = other.grad.abs() > 1e-4
        expected = as_torch(mine[...], is_kernel)
        torch.testing.assert_close(other[mask], expected[mask], atol=2e-4, rtol=1e-3)


@pytest.fixture
def one_thread_bench(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    threads = torch.get_num_threads()
    yield _throughput_torch.TorchBench(threads=1, scratch=str(tmp_path))
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "method",
    [
        name
        for name, how in _throughput_torch.METHODS.items()
        # Half precision is for GPUs: on a CPU, PyTorch's 3D kernels may give NaN.
        if not how.compiled and not how.half
    ],
)
def test_every_eager_method_trains(one_thread_bench, method, case):
    ready = one_thread_bench.prepare(method, case, trials=2)
    assert ready == (0.0, count_parameters(case.program), 2)
    networks = one_thread_bench.networks(method)
    before = [network.head.weight.clone() for network in networks]
    assert one_thread_bench.run(method, steps=3) == 6
    for network, weights in zip(networks, before, strict=True):
        assert not torch.equal(network.head.weight, weights)
        assert torch.isfinite(network.head.weight).all()
    one_thread_bench.drop()
    with pytest.raises(KeyError):
        one_thread_bench.run(method, steps=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_steps_give_the_eager_loss(one_thread_bench):
    ready = one_thread_bench.prepare("compiled", FLAT, trials=1)
    assert ready.compile_seconds > 0
    assert one_thread_bench.run("compiled", steps=2) == 2
