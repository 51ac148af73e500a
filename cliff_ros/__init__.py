"""cliff_ros: from a calibrated camera to 3D people (SMPL) in real time.

The public names below are loaded on first use, so that importing the package (or its messages)
needs nothing but the standard library.
"""

from importlib import import_module
from pkgutil import extend_path

# The messages (cliff_ros.msg) are generated into the installed package. Started from the source
# root, Python finds this folder first: extending the path lets both halves be one package.
__path__ = extend_path(__path__, __name__)
__version__ = '0.1.0'

_PUBLIC = {
    'Frame': 'people',
    'Box': 'people',
    'Person': 'people',
    'People': 'people',
    'TrackState': 'people',
    'Camera': 'camera',
    'Pipeline': 'pipeline',
    'PipelineOptions': 'options',
    'load_body': 'body',
    'BodyModel': 'body',
    'load_model': 'cliff',
    'CliffError': 'errors',
    'InputError': 'errors',
    'ModelError': 'errors',
    'MissingExtra': 'errors',
}
__all__ = ['__version__', *_PUBLIC]


def __getattr__(name):
    if name in _PUBLIC:
        value = getattr(import_module(f'{__name__}.{_PUBLIC[name]}'), name)
        globals()[name] = value
        return value
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
    return sorted(set(globals()) | set(_PUBLIC))
