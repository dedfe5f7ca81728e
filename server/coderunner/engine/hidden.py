"""The kernel's files that containers cannot see, and those that they cannot write to."""

from __future__ import annotations

import glob
import os

READONLY_PATHS = ("/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Folders that programs need; everything else below /sys/devices is hidden.
_NOT_MASKED = {"/sys/devices/system", "/sys/devices/virtual"}  # programs read processors, memory and loopback
# Usual ones, as those of an engine on another machine cannot be listed.
_DEVICES = ("/sys/devices/LNXSYSTM:00", "/sys/devices/pci0000:00", "/sys/devices/platform")
_MASKED = (
    # the engine's default list, which this one replaces
    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    # files that show activity of the host and of other containers
    "/proc/cmdline", "/proc/kallsyms", "/proc/interrupts", "/proc/diskstats", "/proc/partitions",
    "/proc/modules", "/proc/devices", "/proc/softirqs", "/proc/schedstat", "/proc/buddyinfo",
    "/proc/zoneinfo", "/proc/pressure", "/proc/fs", "/sys/block", "/sys/bus",
    "/sys/class/block", "/sys/class/dmi", "/sys/class/hwmon",
    "/sys/class/thermal", "/sys/dev", "/sys/devices/virtual/block", "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/thermal",
    "/sys/devices/virtual/nvme-fabrics", "/sys/devices/virtual/nvme-subsystem",
    "/sys/fs/btrfs", "/sys/fs/ext4", "/sys/fs/xfs",
    "/sys/module", "/sys/power",
    # processor temperatures show activity of other users
    *(f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(os.cpu_count() or 1)),
)  # fmt: skip


def masked_paths() -> list[str]:
    """Paths of the kernel's file systems that are hidden from sessions.

    Folders of devices show the host's disks with serial numbers and sizes. They are listed for each
    container, so that a device that is added later is hidden from the next one.
    """
    return [*_MASKED, *sorted({*_DEVICES, *glob.glob("/sys/devices/*")} - _NOT_MASKED)]
