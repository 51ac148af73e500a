"""Fast DDS set up so that big messages arrive."""

from __future__ import annotations

import shutil
from pathlib import Path

SHARED_MEMORY = Path('/dev/shm')
_IN_FLIGHT = 3  # messages of the largest kind that one process may have under way
# Distros whose Fast DDS knows the profile file only under its old name (later ones warn about that).
_OLD_NAME = ('humble', 'iron', 'jazzy')

# Shared memory only, with room for whole messages. By default Fast DDS cuts them into pieces of 64 kB and
# lends them 512 kB: of 1280x720 images (2.8 MB), best effort on two busy cores, one in eight arrived.
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>shared_memory</transport_id>
      <type>SHM</type>
      <maxMessageSize>{message}</maxMessageSize>
      <segment_size>{segment}</segment_size>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="demo" is_default_profile="true">
    <rtps>
      <userTransports><transport_id>shared_memory</transport_id></userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""


def for_large_messages(env: dict[str, str], folder: Path, largest: int, processes: int = 3) -> dict[str, str]:
    """``env`` with a Fast DDS profile (written into ``folder``) that sends messages in one piece.

    largest : bytes of the largest message. processes : how many will share the memory.
    Left as it is where shared memory is too small (containers often have 64 MB), and where the user has a
    profile already; other middlewares do not read the variable.
    """
    old = env.get('ROS_DISTRO') in _OLD_NAME
    variable = 'FASTRTPS_DEFAULT_PROFILES_FILE' if old else 'FASTDDS_DEFAULT_PROFILES_FILE'
    segment = _IN_FLIGHT * largest
    if variable in env or not _room(processes * segment):
        return env
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / 'fastdds.xml'
    profile.write_text(_PROFILE.format(message=largest, segment=segment), encoding='utf-8')
    return env | {variable: str(profile.resolve())}


def _room(size: int) -> bool:
    """Whether shared memory holds that many bytes, and a quarter more for what else is there."""
    return SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 1.25 * size
