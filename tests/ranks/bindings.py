"""CuPy's own binding of NCCL over a library that only notes its calls, so that neither NCCL nor a
GPU is needed: prints the binding's names and constants, and what our exchanges ask for."""

import ctypes
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = """AllGather AllReduce Bcast Broadcast CommAbort CommCount CommCuDevice CommDestroy
CommGetAsyncError CommInitAll CommInitRankConfig CommSplit CommUserRank GetErrorString GetUniqueId
GetVersion GroupEnd GroupStart Recv Reduce ReduceScatter Send""".split()
NOTES = "long calls[99][9], made;\n" + "".join(
    f"int nccl{name}(long a, long b, long c, long d, long e, long f, long g, long h) {{\n"
    f"  long now[] = {{{i}, a, b, c, d, e, f, g, h}};\n"
    "  for (int i = 0; i < 9; i++) calls[made % 99][i] = now[i];\n"
    "  made++;\n"
    f"  {'*(long *)a = 77;' if name == 'CommInitRankConfig' else ''}\n"
    "  return 0;\n}\n"
    for i, name in enumerate(FUNCTIONS)
)


def built():
    """The library, loaded where the binding looks for NCCL."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "nccl.c"), Path(folder, "libnccl.so.2")
        source.write_text(NOTES)
        options = ["-shared", "-fPIC", "-w", "-Wl,-soname,libnccl.so.2", "-o"]
        subprocess.run(["gcc", *options, str(made), str(source)], check=True)
        return ctypes.CDLL(str(made), ctypes.RTLD_GLOBAL)


def main():
    library = built()
    binding = importlib.import_module("cupy.cuda.nccl")
    sys.path.insert(0, str(ROOT))
    import tensorgrad as tg
    from tensorgrad.distributed import nccl, ranks
    from tests import cudasim
    from tests.cudasim import cuda

    cudasim.install()
    tg.set_backend("cudasim")
    cuda.Device.pci_bus_id = "0000:01:00.0"
    world = ranks.Alone()
    world.rank, world.size = 1, 3
    world.gather = lambda value, what: (
        [binding.get_unique_id()] if "start" in what else [("a", "0"), value, ("a", "2")]
    )
    device = nccl.Device(world)
    xp = tg.backend.default().xp
    a, b = xp.zeros(6, "float32"), xp.zeros(4, "float64")
    names = {a.data.ptr + 4 * i: f"a{i}" for i in range(6)} | {b.data.ptr: "b"}
    names |= {77: "comm", device.stream.ptr: "stream"}
    first = ctypes.c_long.in_dll(library, "made").value
    device.sum([a, b])
    device.broadcast([b])
    device.scatter(a, [0, 2, 2, 6])
    device.collect(a, [0, 2, 2, 6])
    device.comm.check_async_error()
    device.comm.abort()
    made = ctypes.c_long.in_dll(library, "made").value
    calls = ((ctypes.c_long * 9) * 99).in_dll(library, "calls")
    listed = [
        [FUNCTIONS[c[0]], *[names.get(v, v & 0xFFFFFFFF) for v in c[1:]]] for c in calls[first:made]
    ]
    constants = {n: getattr(binding, n) for n in dir(binding) if n.startswith("NCCL_")}
    of_module = [n for n in dir(binding) if callable(getattr(binding, n))]
    print(
        json.dumps(
            {
                "constants": constants,
                "names": of_module,
                "methods": dir(binding.NcclCommunicator),
                "id": len(binding.get_unique_id()),
                "calls": listed,
            }
        )
    )


if __name__ == "__main__":
    main()
