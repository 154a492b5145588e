"""Machine types of Compute Engine and the GPUs that Dataflow can give them.

Facts of https://cloud.google.com/compute/docs/gpus and https://cloud.google.com/dataflow/docs/gpu/gpu-support. What is
not in these tables may exist all the same: nothing is said against it.
"""

from __future__ import annotations

import dataclasses
import re

DRIVER = "install-nvidia-driver:5xx"
"""The part of an accelerator setting that installs a driver: of the series that CUDA 12 and later need."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU by the name that Dataflow knows it by.

    Attributes:
        kind: Such as ``nvidia-l4``.
        memory_gb: Memory of one, in GB, as its maker names it.
        series: Beginnings of the names of machine types that can have it.
        machine_type: The smallest of them that suits: eight vCPUs or more with one GPU.
    """

    kind: str
    memory_gb: float
    series: tuple[str, ...]
    machine_type: str


GPUS = {
    gpu.kind: gpu
    for gpu in (
        Gpu("nvidia-l4", 24, ("g2-",), "g2-standard-8"),
        Gpu("nvidia-tesla-t4", 16, ("n1-", "custom-"), "n1-standard-8"),
        Gpu("nvidia-tesla-v100", 16, ("n1-", "custom-"), "n1-standard-8"),
        Gpu("nvidia-tesla-p100", 16, ("n1-", "custom-"), "n1-standard-8"),
        Gpu("nvidia-tesla-p4", 8, ("n1-", "custom-"), "n1-standard-8"),
        Gpu("nvidia-tesla-a100", 40, ("a2-highgpu-", "a2-megagpu-"), "a2-highgpu-1g"),
        Gpu("nvidia-a100-80gb", 80, ("a2-ultragpu-",), "a2-ultragpu-1g"),
        Gpu("nvidia-h100-80gb", 80, ("a3-highgpu-",), "a3-highgpu-1g"),
    )
}

DEFAULT_GPU = GPUS["nvidia-l4"]
DEFAULT_MACHINE_TYPE = "n2-standard-8"
"""Of workers without a GPU."""

# GB of memory a vCPU.
_GB_PER_VCPU = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
_N1_GB_PER_VCPU = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}
# By the number of GPUs: vCPUs and GB of one of them.
_OF_EACH_GPU = {"a2-highgpu": (12, 85.0), "a2-ultragpu": (12, 170.0), "a3-highgpu": (26, 234.0)}
_L4_OF_G2 = {24: 2, 48: 4, 96: 8}  # by vCPUs; the others have one


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a machine type has.

    Attributes:
        vcpus: Virtual processors.
        memory_gb: Memory in GB (2^30 bytes, as prices count them).
        gpus: GPUs that belong to the type; None where they are attached to it.
    """

    vcpus: int
    memory_gb: float
    gpus: int | None = None


def machine(machine_type: str) -> Machine | None:
    """Returns what a machine type has, or None where that is not known here.

    >>> machine("g2-standard-8"), machine("a2-highgpu-2g")
    (Machine(vcpus=8, memory_gb=32.0, gpus=1), Machine(vcpus=24, memory_gb=170.0, gpus=2))
    >>> machine("n1-standard-8").memory_gb, machine("huge")
    (30.0, None)
    """
    if found := re.fullmatch(r"(a2-highgpu|a2-ultragpu|a3-highgpu)-(\d+)g", machine_type):
        vcpus, memory_gb = _OF_EACH_GPU[found[1]]
        gpus = int(found[2])
        return Machine(gpus * vcpus, gpus * memory_gb, gpus)
    if found := re.fullmatch(r"(?:([a-z]\d[a-z]?)-)?custom-(\d+)-(\d+)", machine_type):
        vcpus = int(found[2])
        return Machine(vcpus, int(found[3]) / 1024, _gpus(found[1] or "n1", vcpus))
    if found := re.fullmatch(r"([a-z]\d[a-z]?)-(standard|highmem|highcpu)-(\d+)", machine_type):
        series, vcpus = found[1], int(found[3])
        each = (_N1_GB_PER_VCPU if series == "n1" else _GB_PER_VCPU)[found[2]]
        return Machine(vcpus, vcpus * each, _gpus(series, vcpus))
    return None


def _gpus(series: str, vcpus: int) -> int | None:
    if series == "g2":
        return _L4_OF_G2.get(vcpus, 1)
    return None if series == "n1" else 0


def gpu_for(machine_type: str) -> Gpu | None:
    """Returns the GPU to ask for where only the machine type is given, or None where no GPU is known to fit.

    >>> gpu_for("g2-standard-16").kind, gpu_for("n1-standard-4").kind, gpu_for("n2-standard-8")
    ('nvidia-l4', 'nvidia-tesla-t4', None)
    """
    return next((gpu for gpu in GPUS.values() if machine_type.startswith(gpu.series)), None)


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """A setting such as ``type:nvidia-l4;count:1;install-nvidia-driver:5xx``, understood.

    >>> Accelerator.parse("type:nvidia-l4;count:2;install-nvidia-driver")
    Accelerator(kind='nvidia-l4', count=2, driver=True, machine_type='')

    Attributes:
        kind: Of its GPUs.
        count: How many a worker has.
        driver: Whether a driver is installed.
        machine_type: Of the workers that have them, where only some have; "" without.
    """

    kind: str
    count: int = 1
    driver: bool = True
    machine_type: str = ""

    @classmethod
    def parse(cls, text: str) -> Accelerator:
        """Understands a setting.

        Raises:
            ValueError: With what is wrong.
        """
        kind, count, driver, machine_type = "", "", False, ""
        for part in filter(None, text.split(";")):
            name, _, value = part.partition(":")
            if name == "type":
                kind = value
            elif name == "count":
                count = value
            elif name == "install-nvidia-driver":
                driver = True
            elif name == "machine_type":
                machine_type = value
            else:
                raise ValueError(f"{part!r} is none of type:NAME, count:N, machine_type:NAME, install-nvidia-driver")
        if not kind:
            raise ValueError("it names no type:, such as type:nvidia-l4")
        if not count.isdecimal() or not int(count):
            raise ValueError("it names no count:, such as count:1")
        return cls(kind, int(count), driver, machine_type)

    @property
    def memory_gb(self) -> float | None:
        """Memory of one GPU in GB, or None where it is not known here."""
        return GPUS[self.kind].memory_gb if self.kind in GPUS else None

    def __str__(self) -> str:
        machine_type = f"machine_type:{self.machine_type}" if self.machine_type else ""
        parts = (f"type:{self.kind}", f"count:{self.count}", machine_type, DRIVER if self.driver else "")
        return ";".join(filter(None, parts))
