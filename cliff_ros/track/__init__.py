"""Who is who from frame to frame, and how they move."""

from cliff_ros.track.association import Tracker
from cliff_ros.track.duplicates import is_hidden, same_as
from cliff_ros.track.filters import OneEuroOptions, PoseState, Smoother, SmootherOptions
from cliff_ros.track.motion import ConstantVelocity, Place
from cliff_ros.track.person import Track

__all__ = [
    'ConstantVelocity',
    'OneEuroOptions',
    'Place',
    'PoseState',
    'Smoother',
    'SmootherOptions',
    'Track',
    'Tracker',
    'is_hidden',
    'same_as',
]
