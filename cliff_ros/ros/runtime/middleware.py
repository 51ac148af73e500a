"""Fast DDS set up so that big messages arrive. Other middlewares do not read any of this.

By default Fast DDS lends the messages that a process sends 512 kB of shared memory, and cuts them into pieces of
64 kB. Best-effort images larger than that overwrite themselves before they are read: of 90 at 1280x720 (2.8 MB), 15 a
second on two busy cores, 6 arrived; with room for a few images, 90.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

SHARED_MEMORY = Path('/dev/shm')
_IN_FLIGHT = 3  # messages of the largest kind that one process may have under way
# Distros whose Fast DDS knows the profile file only under its old name (later ones warn about that).
_OLD_NAME = ('humble', 'iron', 'jazzy')
# A user who has set one of these has decided on transports, or on another middleware, already.
_DECIDED = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS')
_DEFAULT_FILE = 'DEFAULT_FASTDDS_PROFILES.xml'  # read from the working directory where it exists
_OLD_DEFAULT_FILE = 'DEFAULT_FASTRTPS_PROFILES.xml'

# What a process sends, when nobody knows how large it will be: 32 MiB hold 11 images of 1280x720, one of 3840x2160.
# The memory is taken when the process starts, so no more than an eighth of what is free: a container often has 64 MB.
SEGMENT = 32 << 20
_SHARE = 8
_DEFAULT_SEGMENT = 512 << 10  # Fast DDS's own

_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>shared_memory</transport_id>
      <type>SHM</type>{message}
      <segment_size>{segment}</segment_size>
    </transport_descriptor>{udp}
  </transport_descriptors>
  <participant profile_name="cliff_ros" is_default_profile="true">
    <rtps>
      <userTransports>{used}</userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""
_UDP = """
    <transport_descriptor>
      <transport_id>udp</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>"""


def for_large_messages(env: dict[str, str], folder: Path, largest: int, processes: int = 3) -> dict[str, str]:
    """``env`` with a Fast DDS profile (written into ``folder``) that sends messages in one piece, on this machine only.

    largest : bytes of the largest message. processes : how many will share the memory.
    Left as it is where shared memory is too small (containers often have 64 MB), and where the user has a
    profile already.
    """
    variable = profile_variable(env)
    segment = _IN_FLIGHT * largest
    if variable in env or not _room(processes * segment):
        return env
    # Shared memory only: pieces are as large as the smallest transport takes, and UDP takes 64 kB.
    message = f'\n      <maxMessageSize>{largest}</maxMessageSize>'
    return env | {variable: _write(folder, segment=segment, message=message, udp='', used=['shared_memory'])}


def beside_the_network(env: dict[str, str], folder: Path) -> dict[str, str]:
    """The variable, if any, with which a process that inherits ``env`` sends large messages as well as it can.

    For launch files: whoever is on another machine is still reached by UDP. Empty where the user has decided
    on profiles, transports or another middleware, and where shared memory is too small to help.
    """
    other = env.get('RMW_IMPLEMENTATION', '') not in ('', 'rmw_fastrtps_cpp', 'rmw_fastrtps_dynamic_cpp')
    decided = any(env.get(name) for name in _DECIDED) or any(map(os.path.exists, (_DEFAULT_FILE, _OLD_DEFAULT_FILE)))
    segment = min(SEGMENT, _free() // _SHARE)
    if other or decided or segment <= 2 * _DEFAULT_SEGMENT:
        return {}
    return {profile_variable(env): _write(folder, segment=segment, message='', udp=_UDP, used=['shared_memory', 'udp'])}


def profile_variable(env: Mapping[str, str]) -> str:
    """The name of the variable that names Fast DDS's profile file."""
    old = env.get('ROS_DISTRO') in _OLD_NAME
    return 'FASTRTPS_DEFAULT_PROFILES_FILE' if old else 'FASTDDS_DEFAULT_PROFILES_FILE'


def _write(folder: Path, used: list[str], **values: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / 'fastdds.xml'
    transports = ''.join(f'<transport_id>{name}</transport_id>' for name in used)
    profile.write_text(_PROFILE.format(used=transports, **values), encoding='utf-8')
    return str(profile.resolve())


def _free() -> int:
    """Bytes of shared memory that are free."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0


def _room(size: int) -> bool:
    """Whether shared memory holds that many bytes, and a quarter more for what else is there."""
    return _free() > 1.25 * size
