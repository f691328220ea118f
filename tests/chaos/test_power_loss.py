"""The power fails: whatever was acknowledged is on the disk, not in a cache.

The broker's store lies on a file system of its own in an image file. At one instant the server is
stopped and the image copied: that is what the disk would hold. Started from the copy, it must have
every message that was acknowledged. The broker's default configuration loses them all, which the
second test shows, so that the first one can fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import nats
import nats.errors
import pytest

from services.chassis import subjects, topology
from services.chassis.embedded import EmbeddedNats

IMAGE_MB = 400
PUBLISH_S = 3.0
LOG_BYTES = 128 << 20
TENANT = "power"


def can_mount() -> bool:
    """Whether this user may mount an image: root outside of a tight container."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        return False
    with TemporaryDirectory(prefix="muster-mount-") as folder:
        image, at = Path(folder, "disk"), Path(folder, "at")
        with image.open("wb") as file:
            file.truncate(4 << 20)
        at.mkdir()
        made = subprocess.run(["mkfs.ext4", "-q", str(image)], check=False).returncode == 0
        mount = ["mount", "-o", "loop", str(image), str(at)]
        if not made or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
            return False
        subprocess.run(["umount", str(at)], check=True)
    return True


needs_mounts = pytest.mark.skipif(
    not can_mount(),
    reason="only root can mount an image; the setting itself is checked by the last test here",
)


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


class Careless(EmbeddedNats):
    """The server as it comes: acknowledged within two minutes of being on disk."""

    def configuration(self) -> str:
        return super().configuration().replace("sync_interval: always", "sync_interval: 2m")


async def lose_power(folder: Path, kind: type[EmbeddedNats]) -> tuple[int, set[int]]:
    """Publishes for a while and copies the disk at one instant: (acknowledged, still there)."""
    image = folder / "disk"
    with image.open("wb") as file:
        file.truncate(IMAGE_MB << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(image, folder / "before") as disk:
        server = kind(disk / "store").start()
        client = await nats.connect(server.url, allow_reconnect=False)
        await topology.apply(client, LOG_BYTES)
        acknowledged: set[int] = set()
        publishing = asyncio.create_task(publish(client, acknowledged))
        await asyncio.sleep(PUBLISH_S)
        server.pause()
        promised = set(acknowledged)
        subprocess.run(["cp", str(image), str(folder / "copy")], check=True)
        publishing.cancel()
        server.resume()
        server.kill9()
    with mounted(folder / "copy", folder / "after") as disk:
        server = kind(disk / "store").start()
        client = await nats.connect(server.url, allow_reconnect=False)
        found = await kept(client)
        await client.close()
        server.stop()
    return len(promised), promised & found


async def publish(client: nats.NATS, acknowledged: set[int]) -> None:
    number = 0
    while True:
        numbers = range(number, number + 16)
        number += 16
        subject = subjects.intake(TENANT, "test")
        answers = [client.jetstream().publish(subject, b"%d" % n) for n in numbers]
        try:
            await asyncio.gather(*answers)
        except nats.errors.Error:
            return
        acknowledged.update(numbers)


async def kept(client: nats.NATS) -> set[int]:
    try:
        last = (await client.jetstream().stream_info(subjects.INTAKE)).state.last_seq
    except nats.js.errors.NotFoundError:
        return set()
    found = set()
    for sequence in range(1, last + 1):
        message = await client.jetstream().get_msg(subjects.INTAKE, sequence)
        found.add(int(message.data or b"-1"))
    return found


@needs_mounts
@pytest.mark.timeout(120)
async def test_nothing_acknowledged_is_lost_when_the_power_fails(tmp_path: Path) -> None:
    promised, found = await lose_power(tmp_path, EmbeddedNats)
    print(f"acknowledged {promised}, found {len(found)}")
    assert promised > 100
    assert len(found) == promised


@needs_mounts
@pytest.mark.timeout(120)
async def test_the_brokers_default_would_lose_it(tmp_path: Path) -> None:
    promised, found = await lose_power(tmp_path, Careless)
    print(f"acknowledged {promised}, found {len(found)}")
    assert promised > 100
    assert len(found) < promised


def test_the_running_server_says_that_it_syncs_every_message(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "nats", monitor_port=0).start()
    try:
        url = f"http://127.0.0.1:{server.monitor_port}/jsz?config=true"
        with urlopen(url, timeout=5) as answer:
            config = json.load(answer)["config"]
    finally:
        server.stop()
    assert config["sync_always"] is True
