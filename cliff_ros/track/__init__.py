"""Who is who from frame to frame, and how they move."""

from cliff_ros.track.association import Track, Tracker
from cliff_ros.track.duplicates import same_as
from cliff_ros.track.filters import OneEuroOptions, Smoother, SmootherOptions
from cliff_ros.track.motion import ConstantVelocity, Motion

__all__ = ['ConstantVelocity', 'Motion', 'OneEuroOptions', 'Smoother', 'SmootherOptions', 'Track', 'Tracker',
           'same_as']
