"""What is used of AWS's answers, under AWS's own field names (Auto Scaling and EC2 API references)."""

from __future__ import annotations

from datetime import datetime

import msgspec


class _Answer(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="pascal"):
    pass


class Tag(_Answer, frozen=True, gc=False, kw_only=True):
    key: str
    value: str = ""


class Instance(_Answer, frozen=True, gc=False, kw_only=True):
    """A member of a group; `lifecycle_state` is one of Auto Scaling's lifecycle states."""

    instance_id: str
    availability_zone: str
    lifecycle_state: str
    instance_type: str = ""


class TemplateRef(_Answer, frozen=True, gc=False, kw_only=True):
    """Names a version of a launch template; AWS takes `$Default` where none is given."""

    launch_template_id: str = ""
    version: str = "$Default"


class Override(_Answer, frozen=True, gc=False, kw_only=True):
    """One instance type a mixed group may launch; without a type it is described by its attributes."""

    instance_type: str = ""
    weighted_capacity: str = "1"


class MixedTemplate(_Answer, frozen=True, gc=False, kw_only=True):
    launch_template_specification: TemplateRef
    overrides: tuple[Override, ...] = ()


class Distribution(_Answer, frozen=True, gc=False, kw_only=True):
    """How a mixed group divides its instances; AWS's defaults."""

    on_demand_base_capacity: int = 0
    on_demand_percentage_above_base_capacity: int = 100


class MixedPolicy(_Answer, frozen=True, gc=False, kw_only=True):
    launch_template: MixedTemplate
    instances_distribution: Distribution = Distribution()


class Group(_Answer, frozen=True, gc=False, kw_only=True):
    """An Auto Scaling group."""

    auto_scaling_group_name: str
    min_size: int
    max_size: int
    desired_capacity: int
    availability_zones: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    tags: tuple[Tag, ...] = ()
    launch_template: TemplateRef | None = None
    mixed_instances_policy: MixedPolicy | None = None
    status: str = ""


class GroupPage(_Answer, frozen=True, gc=False, kw_only=True):
    """Answer of DescribeAutoScalingGroups."""

    auto_scaling_groups: tuple[Group, ...]
    next_token: str = ""


class Activity(_Answer, frozen=True, gc=False, kw_only=True):
    """One thing a group did or tried."""

    status_code: str
    start_time: datetime
    description: str = ""
    status_message: str = ""
    end_time: datetime | None = None


class ActivityPage(_Answer, frozen=True, gc=False, kw_only=True):
    """Answer of DescribeScalingActivities, newest first."""

    activities: tuple[Activity, ...]


class Market(_Answer, frozen=True, gc=False, kw_only=True):
    market_type: str = ""


class TemplateData(_Answer, frozen=True, gc=False, kw_only=True):
    instance_type: str = ""
    instance_market_options: Market = Market()


class TemplateVersion(_Answer, frozen=True, gc=False, kw_only=True):
    launch_template_data: TemplateData


class TemplateVersions(_Answer, frozen=True, gc=False, kw_only=True):
    """Answer of DescribeLaunchTemplateVersions."""

    launch_template_versions: tuple[TemplateVersion, ...]


class Cpus(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    default: int = msgspec.field(name="DefaultVCpus")


class Memory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    mib: int = msgspec.field(name="SizeInMiB")


class Gpu(_Answer, frozen=True, gc=False, kw_only=True):
    count: int = 0
    manufacturer: str = ""


class Gpus(_Answer, frozen=True, gc=False, kw_only=True):
    gpus: tuple[Gpu, ...] = ()


class Network(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    interfaces: int = msgspec.field(name="MaximumNetworkInterfaces")
    addresses: int = msgspec.field(name="Ipv4AddressesPerInterface")


class Processor(_Answer, frozen=True, gc=False, kw_only=True):
    supported_architectures: tuple[str, ...] = ("x86_64",)


class Kind(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An instance type."""

    name: str = msgspec.field(name="InstanceType")
    cpus: Cpus = msgspec.field(name="VCpuInfo")
    memory: Memory = msgspec.field(name="MemoryInfo")
    network: Network = msgspec.field(name="NetworkInfo")
    gpus: Gpus = msgspec.field(name="GpuInfo", default=Gpus())
    processor: Processor = msgspec.field(name="ProcessorInfo", default=Processor())


class Kinds(_Answer, frozen=True, gc=False, kw_only=True):
    """Answer of DescribeInstanceTypes."""

    instance_types: tuple[Kind, ...]
