"""People in a browser: the picture with the mesh over it, the scene in 3D, numbers (`cliff view`). ROS-free.

`Viewer` (viewer.py) shows what it is given and never keeps whoever gives it waiting; `scene.py` and `panel.py` are what
one sees, `server.py` is who may see it, `replay.py` the same in one file without a server.
"""
